"""The header of a `maps.safetensors`, which may be damaged, or made to do harm.

What it says is checked against the length of the file. A layer that does not fit is left out, and
told.
"""

from collections.abc import Mapping
from typing import Any

from attnmon.link.records.attention_record import Stack
from attnmon.link.records.run_setup import MOST_MAP_SIDE
from attnmon_renderer.maps.maps_bytes import MapsBytes
from attnmon_renderer.maps.maps_metadata import (
    ELEMENT_BYTES,
    FORMAT,
    LayerMaps,
    MapsMetadata,
    Span,
)
from attnmon_renderer.storage import json_fields, paths
from attnmon_renderer.storage.json_fields import count, listed, named, one_of, record, text

MOST_HEADER_BYTES = 1 << 22
MOST_HEADS = 1024
MOST_CELLS = 1 << 26
"""Of all heads of a layer, which may be read at once."""
THUMBNAIL_SIDE = 32
STACKS: tuple[Stack, ...] = ("encoder", "decoder")
PARTS = {
    "": ("U8", ("heads", "rows", "columns")),
    ".scale": ("F32", ("heads",)),
    ".thumbs": ("U8", ("heads", "thumb", "thumb")),
    ".allowed": ("U8", ("any", "any", "any")),
    ".received": ("F16", ("heads", "columns")),
    ".strongest": ("U32", ("heads", "rows")),
}
"""By the suffix of a tensor's name: its type, and what its dimensions are."""
_REQUIRED = ("", ".scale", ".thumbs")
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_ENTRY = record(
    {
        "dtype": one_of(*ELEMENT_BYTES),
        "shape": listed(count, 3),
        "data_offsets": listed(count, 2),
    },
    {},
)


class BadMaps(Exception):
    """A file is no `maps.safetensors`, or a damaged one; says why."""


def read_header(content: MapsBytes) -> MapsMetadata:
    """Read what a file says of itself. Raises BadMaps."""
    try:
        size = int.from_bytes(content.read(0, _LENGTH_BYTES), "little")
        if size > MOST_HEADER_BYTES:
            raise ValueError(f"a header of {size:,} bytes")
        header = json_fields.parse(content.read(_LENGTH_BYTES, size))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        about = named(text)(header.pop(_METADATA, None))
        if about.get("format") != FORMAT:
            raise ValueError(f"its format is {about.get('format', '')[:40]!r}, not {FORMAT!r}")
        return _metadata(about, header, _LENGTH_BYTES + size, content.size)
    except (EOFError, ValueError, OSError) as error:
        raise BadMaps(str(error)) from error


def _metadata(
    about: Mapping[str, str], entries: Mapping[str, Any], start: int, end: int
) -> MapsMetadata:
    layers: dict[str, LayerMaps] = {}
    damages = []
    for stem in entries:
        if "." in stem:
            continue
        try:
            layers[stem] = _layer(stem, about, entries, start, end)
        except (ValueError, KeyError) as error:
            damages.append(f"{stem[:60]!r} is left out: {error}")
    return MapsMetadata(
        step=json_fields.whole(_number(about["step"], int) if "step" in about else None),
        epoch=json_fields.whole(_number(about["epoch"], int)) if "epoch" in about else None,
        loss=_loss(about),
        tokens=_tokens(about.get("tokens", "{}")),
        layers=layers,
        damages=tuple(damages),
    )


def _layer(
    stem: str, about: Mapping[str, str], entries: Mapping[str, Any], start: int, end: int
) -> LayerMaps:
    if not stem.isascii() or len(stem) > 60 or paths.parse_stem(stem) is None:
        raise ValueError("not the name of a layer")
    spans = {
        suffix: _span(entries[stem + suffix], dtype, start, end)
        for suffix, (dtype, _) in PARTS.items()
        if stem + suffix in entries or suffix in _REQUIRED
    }
    heads, rows, columns = _three(spans[""].shape)
    layer = LayerMaps(
        stem=stem,
        heads=_numbers(about[f"{stem}.heads"]),
        shape=_three(_numbers(about[f"{stem}.shape"])),
        rows=rows,
        columns=columns,
        query_step=_number(about[f"{stem}.query_step"], int),
        key_step=_number(about[f"{stem}.key_step"], int),
        causal=about[f"{stem}.causal"] == "true",
        earlier=_number(about.get(f"{stem}.earlier", "0"), int),
        module=about.get(f"{stem}.module", ""),
        source=about.get(f"{stem}.source", ""),
        note=about.get(f"{stem}.note", ""),
        sampled=_sampled(about.get(f"{stem}.sampled")),
        non_finite=_number(about.get(f"{stem}.non_finite", "0"), int),
        missing=_numbers(missing) if (missing := about.get(f"{stem}.missing", "")) else (),
        spans=spans,
    )
    _require(0 < heads == len(layer.heads) == layer.shape[0] <= MOST_HEADS, "heads")
    _require(0 < rows <= MOST_MAP_SIDE and 0 < columns <= MOST_MAP_SIDE, "sides")
    _require(heads * rows * columns <= MOST_CELLS, "number of cells")
    _require(_cells(layer.shape[1], layer.query_step) == rows, "query_step")
    _require(_cells(layer.shape[2], layer.key_step) == columns, "key_step")
    _require(0 <= layer.earlier <= layer.shape[2], "earlier")
    sizes = {"heads": (heads,), "rows": (rows,), "columns": (columns,)}
    for suffix, span in spans.items():
        _require(_fits(span, suffix, sizes), f"{suffix or 'codes'} of shape {span.shape}")
    return layer


def _span(entry: Any, dtype: str, start: int, end: int) -> Span:
    checked = _ENTRY(entry)
    _require(len(checked["data_offsets"]) == 2, "offsets")
    span = Span(checked["dtype"], tuple(checked["shape"]), start + checked["data_offsets"][0])
    _require(span.dtype == dtype, f"elements of type {span.dtype}")
    _require(checked["data_offsets"] == [span.offset - start, span.offset - start + span.nbytes],
             "offsets")  # fmt: skip
    _require(span.offset + span.nbytes <= end, "offsets, of a file that ends before")
    return span


def _fits(span: Span, suffix: str, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a tensor's dimensions are those of its layer."""
    kinds = PARTS[suffix][1]
    if suffix == ".allowed":
        full = (*sizes["heads"], *sizes["rows"], *sizes["columns"])
        return len(span.shape) == 3 and all(
            given in (1, size) for given, size in zip(span.shape, full, strict=True)
        )
    allowed = {**sizes, "thumb": range(1, THUMBNAIL_SIDE + 1)}
    return len(span.shape) == len(kinds) and all(
        given in allowed[kind] for given, kind in zip(span.shape, kinds, strict=True)
    )


def _cells(positions: int, step: int) -> int:
    return -(-positions // step) if step > 0 else 0


def _three(numbers: tuple[int, ...]) -> tuple[int, int, int]:
    if len(numbers) != 3:
        raise ValueError(f"{len(numbers)} dimensions, not 3")
    return numbers[0], numbers[1], numbers[2]


def _numbers(listed_numbers: str) -> tuple[int, ...]:
    _require(len(listed_numbers) <= 16 * MOST_HEADS, "numbers")
    return tuple(_number(each, int) for each in listed_numbers.split(","))


def _number(digits: str, kind: Any) -> Any:
    _require(digits.isascii() and len(digits) <= 32, "number")
    return json_fields.number(kind(digits))


def _sampled(digits: str | None) -> int | None:
    return None if digits is None else count(_number(digits, int))


def _loss(about: Mapping[str, str]) -> float | None:
    try:
        return float(_number(about["loss"], float)) if "loss" in about else None
    except ValueError:
        return None  # as a loss that is infinite


def _tokens(written: str) -> dict[Stack, tuple[str, ...]]:
    found = json_fields.parse(written)
    listed_tokens = record({}, dict.fromkeys(STACKS, listed(text, 1 << 20)))(found)
    return {stack: tuple(tokens) for stack, tokens in listed_tokens.items() if tokens}


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"its {what} cannot be")
