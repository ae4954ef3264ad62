"""The messages: what is encoded is decoded, and nothing else is accepted."""

import math
from dataclasses import astuple, fields, replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.messages import CAPTURE, EVERY_KIND, KEY, LAYER

from attnmon.link.messages import VERSION, Acknowledgement, Capture, Goodbye, decode, encode
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import Setup
from attnmon.link.records.schema import LIMIT, MessageError


@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda message: type(message).__name__)
def test_what_is_encoded_is_decoded(message: Setup | Capture | Goodbye | Acknowledgement) -> None:
    assert decode(encode(message)) == message


def test_layers_that_are_sent_again_are_in_the_message_as_if_they_were_the_first() -> None:
    other = replace(LAYER, name="another")
    for step in range(3):
        for layers in ((LAYER,), (other,), (other, LAYER), (LAYER, LAYER), (replace(LAYER),)):
            capture = replace(CAPTURE, step=step, attentions=layers)
            plain = msgpack.packb([VERSION, 1, *astuple(capture)])
            assert encode(capture) == plain
            assert decode(plain) == capture


def test_layers_that_come_again_are_read_once_and_others_as_they_are() -> None:
    first, again = (decode(encode(replace(CAPTURE, step=step))) for step in (1, 2))
    assert isinstance(first, Capture)
    assert isinstance(again, Capture)
    assert (first.step, again.step) == (1, 2)
    assert first.attentions is again.attentions
    values = [VERSION, 1, *astuple(CAPTURE)]
    at = 2 + [field.name for field in fields(Capture)].index("attentions")
    for wrong in ({}, 5, None, [*values[at], {}], [[True, *values[at][0][1:]]]):
        with pytest.raises(MessageError):
            decode(msgpack.packb([*values[:at], wrong, *values[at + 1 :]]))


def test_a_loss_that_is_nan_arrives_as_nan() -> None:
    arrived = decode(encode(replace(CAPTURE, loss=math.nan)))
    assert isinstance(arrived, Capture)
    assert arrived.loss is not None
    assert math.isnan(arrived.loss)


def as_list(message: object) -> list[object]:
    unpacked = msgpack.unpackb(encode(message))  # type: ignore[arg-type]
    assert isinstance(unpacked, list)
    return unpacked


@pytest.mark.parametrize("position", range(2 + len(fields(Capture))))
@pytest.mark.parametrize("value", [object, {"a": 1}, b"bytes", [[[]]], 1e300, "\x00", -1])
def test_a_field_of_another_type_is_refused(position: int, value: object) -> None:
    unpacked = as_list(CAPTURE)
    before = unpacked[position]
    unpacked[position] = "object" if value is object else value
    fits = type(unpacked[position]) is type(before) or (
        position in (6, 7, 8, 19) and value == 1e300
    )
    if fits or (position == 5 and value == -1) or (position == 3 and value == -1):
        return
    with pytest.raises(MessageError):
        decode(msgpack.packb(unpacked))


def test_a_field_too_many_or_too_few_is_refused() -> None:
    unpacked = as_list(CAPTURE)
    for changed in (unpacked[:-1], [*unpacked, 0]):
        with pytest.raises(MessageError, match="Capture"):
            decode(msgpack.packb(changed))


def test_another_version_is_refused_and_both_are_named() -> None:
    unpacked = as_list(CAPTURE)
    unpacked[0] = 99
    with pytest.raises(MessageError, match=rf"this side speaks {VERSION}.*99"):
        decode(msgpack.packb(unpacked))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MessageError, match="kind"):
        decode(msgpack.packb([VERSION, 17]))


@given(st.binary(max_size=400))
@settings(max_examples=1000)
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(MessageError):
        decode(noise)


@given(st.data())
@settings(max_examples=1000)
def test_a_damaged_message_is_refused_or_still_follows_the_schema(data: st.DataObject) -> None:
    packed = bytearray(encode(CAPTURE))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode(bytes(packed))
    except MessageError:
        return
    assert decode(encode(message)) == message or "nan" in repr(message)


def test_a_message_that_is_too_large_is_not_encoded() -> None:
    many = tuple(replace(LAYER, name="x" * 500, layer=n) for n in range(2000))
    with pytest.raises(MessageError, match=str(LIMIT)):
        encode(replace(CAPTURE, attentions=many))


@pytest.mark.parametrize(
    "change",
    [
        {"query": None},
        {"weights": ArrayBlock(0, "float32", (4, 7, 9))},
        {"query": ArrayBlock(0, "float32", (4, 7, 5))},
        {"key": ArrayBlock(0, "float32", (3, 9, 8))},
        {"heads": (0, 1)},
        {"bias": ArrayBlock(0, "bool", (5, 9))},
        {"sinks": ArrayBlock(0, "float32", (3,))},
        {"layer": -1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_arrays_that_do_not_go_together_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        replace(LAYER, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [("object", (1,)), ("float32", (-1,)), ("float32", (1,) * 5)])
def test_a_block_that_cannot_be_is_refused(block: tuple[str, tuple[int, ...]]) -> None:
    with pytest.raises(MessageError):
        ArrayBlock(0, *block)


def test_an_array_outside_the_slots_that_came_with_it_is_refused() -> None:
    CAPTURE.require_inside(1 << 20, 1 << 16)
    elsewhere = replace(CAPTURE, slots=(Slots(3, 2),))
    with pytest.raises(MessageError, match="block"):
        elsewhere.require_inside(1 << 20, 1 << 16)
    with pytest.raises(MessageError, match="slots"):
        replace(CAPTURE, slots=(Slots(0, 99),)).require_inside(1 << 20, 1 << 16)


def test_grouped_heads_give_the_shape_of_the_weights() -> None:
    assert LAYER.shape == (4, 7, 9)
    assert KEY.nbytes == 2 * 9 * 8 * 2
