"""Writes the attacks beside it: messages that no training process of ours sends, one a file.

    python tests/link/attacks/make.py        # again, when the schema has changed

`refused/` does not follow the schema, `outside/` follows it and does not fit the ring, `allowed/`
may be sent and means harm all the same. A file's name begins with what it attacks.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgpack

from attnmon.link.channel import PACKET_BYTES
from attnmon.link.messages import (
    VERSION,
    Acknowledgement,
    Capture,
    Goodbye,
    Message,
    Refusal,
    encode,
)
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.average_map import AverageMap, AverageTiles
from attnmon.link.records.layer_summary import LayerSummary, SummarisedHeads
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon.link.records.training_accounts import Accounts
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES

HERE = Path(__file__).parent
HEADER = bytes((0x93, VERSION, 1))
"""The start of a message of three items: an array, this version and the kind of a `Capture`."""
RING_BYTES = MEBIBYTE
"""The ring that `outside` does not fit."""

LAYER = Attention(
    "decoder.0", "decoder", 0, "self_attention", "scaled_dot_product_attention", (0, 1, 2, 3),
    query=ArrayBlock(0, "float32", (4, 7, 8)), key=ArrayBlock(1024, "bfloat16", (2, 7, 8)),
    bias=ArrayBlock(4096, "bool", (7, 7)), sinks=ArrayBlock(8192, "float32", (4,)), scale=0.25,
)  # fmt: skip
SUMS = SummarisedHeads(
    ArrayBlock(0, "float32", (4, 1, 16)), ArrayBlock(512, "float32", (4, 1, 2)),
    ArrayBlock(640, "float32", (4, 6)), ArrayBlock(1792, "float32", (4, 2, 7)),
    ArrayBlock(768, "float32", (4, 7)),
    ArrayBlock(1024, "float32", (2, 7)), ArrayBlock(1152, "int32", (4, 7)),
    ArrayBlock(1280, "float16", (4, 49)),
    ArrayBlock(2752, "float32", (4, 0)), ArrayBlock(2752, "float32", (4, 0, 0)),
)  # fmt: skip
TILES = AverageTiles(
    4, 0, ArrayBlock(2560, "float32", (4,)), ArrayBlock(2624, "uint8", (4, 4, 4))
)  # fmt: skip
MEAN = AverageMap(1, 1, (TILES,))
SUMMARY = LayerSummary(
    (4, 7, 7), 8, 1, 1, "kernel 0", (SUMS,), True,
    ArrayBlock(2048, "int32", (2, 7)), ArrayBlock(2304, "bool", (7,)), average=MEAN,
)  # fmt: skip
GIVEN = Attention(
    "encoder.0", "encoder", 0, "self_attention", "recorded", (0, 1),
    weights=ArrayBlock(SLOT_BYTES, "float32", (2, 5, 5)),
)  # fmt: skip
CAPTURE = Capture(
    10**6, 10**6, False, 1, 0.5, 1e-3, 1.7e9, 0, (Slots(0, 1), Slots(1, 1)), (LAYER, GIVEN),
    Accounts(captured=4, error="none"), encoder_tokens=("a", "b"),
)  # fmt: skip
"""A capture as it should be: every attack is one step away from it."""

Place = tuple[str | int, ...]
"""Of a value in the capture: names of fields, and indices of tuples."""


def changed(place: Place, value: Any) -> bytes:
    """The capture with another value in one place, whether its schema allows it or not."""
    unpacked = msgpack.unpackb(encode(CAPTURE))
    packed_fields = unpacked[2:]
    _put(packed_fields, CAPTURE, place, value)
    return msgpack.packb(unpacked[:2] + packed_fields)  # type: ignore[no-any-return]


def _put(packed: list[Any], record: Any, place: Place, value: Any) -> None:
    first, *rest = place
    if isinstance(first, int):
        position, inner = first, record[first]
    else:
        names = [field.name for field in fields(record)]
        position, inner = names.index(first), getattr(record, first)
    if rest:
        _put(packed[position], inner, tuple(rest), value)
    else:
        packed[position] = value


def capture(**change: Any) -> bytes:
    return encode(replace(CAPTURE, **change))


def summed_up(**changes: Any) -> bytes:
    """A capture of a layer that was summed up, with other fields of its summary."""
    summary = replace(SUMMARY, **changes)
    return layer(query=None, key=None, bias=None, sinks=None, summary=summary)


def layer(**change: Any) -> bytes:
    return capture(attentions=(replace(LAYER, **change),))


def accounts(**change: Any) -> bytes:
    return capture(accounts=replace(CAPTURE.accounts, **change))


def listed(change: Callable[[list[Any]], object]) -> bytes:
    """The capture as a list, after something was done to it."""
    unpacked = msgpack.unpackb(encode(CAPTURE))
    change(unpacked)
    return msgpack.packb(unpacked)  # type: ignore[no-any-return]


def nested(depth: int) -> bytes:
    return HEADER + b"\x91" * depth + b"\x01"


PACKED = encode(CAPTURE)
LAYER_0: Place = ("attentions", 0)
QUERY: Place = (*LAYER_0, "query")
WEIGHTS: Place = ("attentions", 1, "weights")

REFUSED: dict[str, bytes] = {
    "bytes_none": b"",
    "bytes_of_text": b"GET / HTTP/1.1\r\nHost: renderer\r\n\r\n",
    "bytes_of_a_pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
    "length_of_long_text": b"\xdb" + struct.pack(">I", PACKET_BYTES) + b"x" * PACKET_BYTES,
    "length_of_an_array_huge": b"\xdd\xff\xff\xff\xff" + HEADER[1:],
    "length_of_text_huge": HEADER + b"\xdb\xff\xff\xff\xffx",
    "length_of_a_map_huge": HEADER + b"\xdf\xff\xff\xff\xff",
    "length_of_bytes_huge": HEADER + b"\xc6\xff\xff\xff\xff",
    "length_of_an_extension_huge": HEADER + b"\xc9\xff\xff\xff\xff\x05",
    "truncated_in_the_header": PACKED[:1],
    "truncated_in_the_middle": PACKED[: len(PACKED) // 2],
    "truncated_by_one_byte": PACKED[:-1],
    "trailing_byte": PACKED + b"\x00",
    "trailing_message": PACKED + PACKED,
    "nesting_100_deep": nested(100),
    "nesting_700_deep": nested(700),
    "nesting_1020_deep": nested(1020),
    "nesting_10000_deep": nested(10_000),
    "type_extension": HEADER + b"\xd4\x05\x00",
    "type_timestamp": HEADER + b"\xd6\xff\x00\x00\x00\x00",
    "type_map": msgpack.packb({"version": VERSION, "kind": 1}),
    "type_map_in_accounts": changed(("accounts",), {}),
    "type_bytes_for_text": changed((*LAYER_0, "name"), b"decoder.0"),
    "type_text_for_a_number": changed(("sequence",), "1"),
    "type_bool_for_an_integer": changed(("sequence",), True),
    "type_integer_for_a_float": changed(("timestamp",), 17),
    "type_float_for_an_integer": changed(("step",), 1e6),
    "type_none_for_slots": changed(("slots",), None),
    "type_number_for_a_list": changed((*LAYER_0, "heads"), 4),
    "type_lists_for_records": changed(("attentions",), [[], []]),
    "text_that_is_no_utf8": PACKED.replace(b"decoder.0", b"decoder\xff\xfe"),
    "version_of_the_future": listed(lambda message: message.__setitem__(0, 99)),
    "version_none": listed(lambda message: message.pop(0)),
    "kind_unknown": listed(lambda message: message.__setitem__(1, 17)),
    "kind_negative": listed(lambda message: message.__setitem__(1, -1)),
    "kind_true": listed(lambda message: message.__setitem__(1, True)),
    "fields_one_more": listed(lambda message: message.append(0)),
    "fields_one_less": listed(lambda message: message.pop()),
    "choice_unknown": changed((*LAYER_0, "stack"), "../../etc"),
    "number_of_sequence_negative": changed(("sequence",), -1),
    "number_of_layer_negative": changed((*LAYER_0, "layer"), -1),
    "slots_negative": changed(("slots", 0, "first"), -1),
    "slots_none_in_a_run": changed(("slots", 0, "count"), 0),
    "attentions_none": changed(("attentions",), []),
    "block_at_a_negative_offset": changed((*QUERY, "offset"), -4),
    "block_of_a_dtype_unknown": changed((*QUERY, "dtype"), "object"),
    "block_of_five_dimensions": changed((*QUERY, "shape"), [1, 1, 1, 1, 1]),
    "block_of_two_dimensions": changed((*QUERY, "shape"), [28, 8]),
    "shape_negative": changed((*QUERY, "shape"), [4, -7, 8]),
    "shape_that_overflows": changed((*WEIGHTS, "shape"), [2, 1 << 63, 5]),
    "shape_that_overflows_to_zero": changed((*WEIGHTS, "shape"), [2, 1 << 62, 2]),
    "shape_without_end_of_no_bytes": changed((*WEIGHTS, "shape"), [2, 1 << 40, 0]),
    "shape_of_another_width": changed((*QUERY, "shape"), [4, 7, 9]),
    "shape_of_other_heads": changed((*QUERY, "shape"), [5, 7, 8]),
    "shape_of_no_key_heads": changed((*LAYER_0, "key", "shape"), [0, 7, 8]),
    "shape_of_key_heads_that_do_not_divide": changed((*LAYER_0, "key", "shape"), [3, 7, 8]),
    "shape_of_a_bias_that_does_not_fit": changed((*LAYER_0, "bias", "shape"), [6, 7]),
    "shape_of_sinks_that_do_not_fit": changed((*LAYER_0, "sinks", "shape"), [5]),
    "arrays_both_given_and_to_be_computed": changed((*LAYER_0, "weights"), [0, "bool", [4, 7, 7]]),
    "arrays_neither": changed((*LAYER_0, "query"), None),
    "accounts_with_an_error_of_50000_letters": changed(("accounts", "error"), "x" * 50_000),
}  # fmt: skip

OUTSIDE: dict[str, bytes] = {
    "summary_beyond_its_slots": summed_up(
        heads=(replace(SUMS, cells=ArrayBlock(2 * SLOT_BYTES, "float16", (4, 49))),)
    ),
    "summary_of_a_mean_beyond_its_slots": summed_up(
        average=AverageMap(
            1, 1, (replace(TILES, codes=ArrayBlock(2 * SLOT_BYTES, "uint8", (4, 4, 4))),)
        )
    ),
    "summary_of_a_mask_beyond_the_ring": summed_up(ends=ArrayBlock(RING_BYTES, "int32", (2, 7))),
    "slots_beyond_the_ring": capture(slots=(Slots(RING_BYTES // SLOT_BYTES, 1),)),
    "slots_of_64_bits": capture(slots=(Slots(0, (1 << 64) - 1),)),
    "slots_none": capture(slots=()),
    "block_beyond_its_slots": layer(query=ArrayBlock(2 * SLOT_BYTES, "float32", (4, 7, 8))),
    "block_across_two_runs": layer(query=ArrayBlock(SLOT_BYTES - 16, "float32", (4, 7, 8))),
    "block_at_an_offset_of_64_bits": layer(query=ArrayBlock((1 << 64) - 1, "float32", (4, 7, 8))),
    "image_beyond_the_ring": encode(
        replace(CAPTURE, image=SampleImage(ArrayBlock(RING_BYTES, "uint8", (4, 4, 3)), False, ()))
    ),
    "block_larger_than_the_ring": layer(
        query=ArrayBlock(0, "float32", (4, 7, 1 << 22)),
        key=ArrayBlock(0, "float32", (4, 7, 1 << 22)),
    ),
}

ALLOWED: dict[str, bytes] = {
    "summary_of_anything": summed_up(),
    "summary_of_a_mean_of_one_tile_again_and_again": summed_up(
        average=AverageMap(
            1, 1, (replace(TILES, heads=1), replace(TILES, heads=1), replace(TILES, heads=2))
        )
    ),
    "summary_of_a_kernel_of_30000_letters": summed_up(kernel="k" * 30_000),
    "summary_of_steps_beyond_its_positions": summed_up(
        query_step=1 << 22,
        key_step=1 << 22,
        average=None,
        heads=(
            replace(
                SUMS,
                logits=ArrayBlock(1792, "float32", (4, 2, 1)),
                strongest=ArrayBlock(1152, "int32", (4, 1)),
                cells=ArrayBlock(1280, "float16", (4, 1)),
            ),
        ),
    ),
    "timestamp_nan": capture(timestamp=math.nan),
    "timestamp_infinite": capture(timestamp=math.inf, loss=-math.inf, lr=math.nan),
    "step_negative": capture(step=-5, epoch=-3, by_epoch=True),
    "step_of_64_bits": capture(step=(1 << 64) - 1),
    "sequence_of_64_bits": capture(sequence=(1 << 64) - 1),
    "sample_negative": capture(sample=-1),
    "layer_of_64_bits": layer(layer=(1 << 64) - 1),
    "layers_of_one_name": capture(attentions=(LAYER, LAYER)),
    "heads_of_any_number": layer(heads=(-1, 1 << 63, 0, 0)),
    "name_of_a_path": layer(name="../../../etc/passwd\x00\n\x1b[2J<script>"),
    "name_of_30000_letters": layer(name="x" * 30_000),
    "name_of_30000_letters_in_a_warning": capture(
        attentions=(replace(GIVEN, name="x" * 30_000), replace(LAYER, scale=math.nan))
    ),
    "name_of_lone_surrogates": layer(name="\ud800\udfff", note="\udc80"),
    "note_of_markup": layer(note=r"$\frac{1}{0}$ %s {0} <img src=x onerror=1>"),
    "scale_nan": layer(scale=math.nan, error=math.nan),
    "scale_infinite": layer(scale=math.inf, softcap=-1.0),
    "softcap_tiny": layer(softcap=5e-324),
    "block_that_two_arrays_share": layer(key=ArrayBlock(0, "float32", (4, 7, 8))),
    "image_of_patches_that_no_layer_has": encode(
        replace(
            CAPTURE,
            image=SampleImage(
                ArrayBlock(0, "uint8", (4, 4, 3)),
                False,
                (PatchedLayer("encoder", 0, "self_attention", 1 << 22, 1 << 22, 1 << 22),),
            ),
        )
    ),
    "block_not_aligned": layer(query=ArrayBlock(1, "float32", (4, 7, 8))),
    "shape_of_no_queries": layer(query=ArrayBlock(0, "float32", (4, 0, 8)), bias=None),
    "shape_of_no_heads": layer(
        heads=(), query=ArrayBlock(0, "float32", (0, 7, 8)), sinks=None, bias=None
    ),
    "tokens_that_fit_nothing": capture(encoder_tokens=("\x00", "語" * 5000), decoder_tokens=("",)),
    "accounts_negative": accounts(captured=-1, dropped=-(1 << 63), hook_seconds=-math.inf),
    "accounts_of_64_bits": accounts(captured=(1 << 64) - 1, failed=(1 << 64) - 1),
}

NOT_FOR_THE_RENDERER: tuple[Message, ...] = (Acknowledgement(0), Refusal("you are stopped"))
OUTSIDE |= {f"kind_{type(m).__name__.lower()}": encode(m) for m in NOT_FOR_THE_RENDERER}
BEFORE_THE_END = encode(Goodbye(Accounts()))

CORPUS = {"refused": REFUSED, "outside": OUTSIDE, "allowed": ALLOWED}


def main() -> None:
    for folder, attacks in CORPUS.items():
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).glob("*.msgpack"):
            old.unlink()
        for name, packed in attacks.items():
            (HERE / folder / f"{name}.msgpack").write_bytes(packed)


if __name__ == "__main__":
    main()
