"""The maps of one layer at one step, made small and compressed, for a browser to unpack."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from attnmon_renderer.analysis.arrays import Booleans, Floats
from attnmon_renderer.maps.codes import LARGEST_CODE, Codes
from attnmon_renderer.maps.maps_file import MapsFile
from attnmon_renderer.maps.maps_metadata import LayerMaps

try:
    from isal import isal_zlib as zlib  # as many bytes in a quarter of the time
except ImportError:
    import zlib  # type: ignore[no-redef]

_LEVEL = 1
LARGEST_SCALE = 1e30
"""No weight is as large, but in a file that was made to break the page: JSON has no infinity."""


class MapBlock(NamedTuple):
    """What the page is told of the maps, their codes, as differences, and their mask."""

    about: dict[str, Any]
    content: bytes
    """In zlib's format."""
    allowed: bytes
    """[rows, columns] Whether any head may attend; empty where no mask says more than causality."""
    is_pooled: bool
    """Whether the cells are larger than those of the file."""


def map_block(maps: MapsFile, layer: LayerMaps, side: int, heads: Sequence[int] = ()) -> MapBlock:
    """Return the maps of some heads, by default all, of at most `side` cells a side.

    Raises BadMaps.
    """
    places = [layer.heads.index(head) for head in heads or layer.heads]
    codes, scales = maps.all_codes(layer.stem)[places], maps.scale(layer.stem)[places]
    factors = -(-layer.rows // side), -(-layer.columns // side)
    last = layer.shape[1] - (layer.rows - 1) * layer.query_step
    codes, scales = pooled(codes, scales, factors, last / layer.query_step)
    allowed = maps.allowed(layer.stem)
    mask = b"" if allowed is None else pooled_mask(allowed, layer, factors).tobytes()
    about = layer.for_page() | {
        "heads": [layer.heads[place] for place in places],
        "rows": codes.shape[1],
        "columns": codes.shape[2],
        "query_step": layer.query_step * factors[0],
        "key_step": layer.key_step * factors[1],
        "scale": [float(f"{min(scale, LARGEST_SCALE):.6g}") for scale in scales],
    }
    content = zlib.compress(differences(codes).tobytes(), _LEVEL)
    return MapBlock(about, content, mask, max(factors) > 1)


def differences(codes: Codes) -> Codes:
    """Return how codes differ from those of the row above, which takes a tenth less when packed."""
    return np.diff(codes, axis=1, prepend=np.zeros_like(codes[:, :1]))


@np.errstate(all="ignore")
def pooled(
    codes: Codes, scales: Floats, factors: tuple[int, int], last_row: float
) -> tuple[Codes, Floats]:
    """Return codes and scales of cells that are larger by these factors, pooled by mass.

    last_row: how many queries the last row of cells has, as a part of the others'.
    """
    if factors == (1, 1):
        return codes, scales
    squares = np.multiply(codes, codes, dtype=np.uint16)  # weights, in units of scale / 255²
    sums = _sum_rows(squares, factors[0], last_row)
    sums = _sum_columns(sums, factors[1])
    largest = sums.max(axis=(1, 2))
    shares = np.sqrt(sums / np.where(largest > 0, largest, 1)[:, None, None])
    rounded: Codes = (shares * np.float32(LARGEST_CODE) + np.float32(0.5)).astype(np.uint8)
    return rounded, scales * largest / np.float32(LARGEST_CODE**2)


def _sum_rows(squares: Any, factor: int, last_row: float) -> Floats:
    """Return the mean over the queries of each larger cell, [heads, rows / factor, columns]."""
    rows = squares.shape[1]
    sums: Floats = squares[:, ::factor].astype(np.float32)
    counts = np.ones(rows, np.float32)
    counts[-1] = last_row
    if (rows - 1) % factor == 0:
        sums[:, -1] *= np.float32(last_row)
    for place in range(1, factor):
        others = squares[:, place::factor]
        into = sums[:, : others.shape[1]]
        into += others
        if others.shape[1] and place + (others.shape[1] - 1) * factor == rows - 1:
            into[:, -1] -= others[:, -1] * np.float32(1 - last_row)
    sums /= np.add.reduceat(counts, np.arange(0, rows, factor))[:, None]
    return sums


def _sum_columns(values: Floats, factor: int) -> Floats:
    sums = values[..., ::factor].copy()
    for place in range(1, factor):
        others = values[..., place::factor]
        sums[..., : others.shape[-1]] += others
    return sums


def pooled_mask(allowed: Booleans, layer: LayerMaps, factors: tuple[int, int]) -> Booleans:
    """Return [rows, columns]: may any query of a larger cell attend to any of its keys?"""
    heads = np.broadcast_to(allowed.any(axis=0), (layer.rows, layer.columns))
    for axis, factor in enumerate(factors):
        starts = np.arange(0, heads.shape[axis], factor)
        heads = np.logical_or.reduceat(heads, starts, axis)
    found: Booleans = heads
    return found
