"""Reads the mean of a layer's maps over its heads, which a device sends tile by tile."""

from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon.link.records.layer_summary import LayerSummary
from attnmon.link.summaries.summary_parts import AVERAGE_LEVELS, CLOSED_CODE, UNKNOWN_CODE
from attnmon_renderer.analysis.arrays import Booleans, Floats, Memory, read_array
from attnmon_renderer.analysis.pooling_grid import PoolingGrid

_SHARES = np.square(np.arange(256, dtype=np.float32) / AVERAGE_LEVELS)
"""Of a tile's largest cell, by code."""
_SHARES[UNKNOWN_CODE], _SHARES[CLOSED_CODE] = np.nan, 0


def read_average(
    record: LayerSummary, grid: PoolingGrid, memory: Memory
) -> tuple[Floats, Booleans]:
    """Return the cells, and which no head lets any of their queries attend to: [rows, columns]."""
    assert record.average is not None
    rows, columns = record.average.tiles[0].codes.shape[1:]
    tall, wide = -(-grid.shape[0] // rows), -(-grid.shape[1] // columns)
    values = np.zeros((tall, wide, rows, columns), np.float32)
    masked = np.ones(values.shape, np.bool_)
    order = np.tril_indices(tall) if record.is_triangle else np.divmod(np.arange(tall * wide), wide)
    for some in record.average.tiles:
        codes, scales = (read_array(block, memory) for block in (some.codes, some.scales))
        places = tuple(axis[some.first : some.first + len(codes)] for axis in order)
        weights = _SHARES[codes] * scales[:, None, None]
        values[places] += weights * np.float32(some.heads / record.shape[0])
        masked[places] &= codes == CLOSED_CODE
    return _joined(values, grid), _joined(masked, grid)


def _joined(tiles: npt.NDArray[Any], grid: PoolingGrid) -> npt.NDArray[Any]:
    """Return tiles [tall, wide, rows, columns] side by side, without what is beyond the map."""
    tall, wide, rows, columns = tiles.shape
    whole = tiles.transpose(0, 2, 1, 3).reshape(tall * rows, wide * columns)
    return whole[: grid.shape[0], : grid.shape[1]]
