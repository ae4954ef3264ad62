"""The poolings fed tile by tile, against means and maxima taken over the whole map."""

import numpy as np
import pytest

from attnmon_renderer.analysis.arrays import Rows
from attnmon_renderer.analysis.masks import Mask
from attnmon_renderer.analysis.pooling import CellPooling, MassPooling, MaxPooling
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.analysis.softmax_tile import tile_from_weights

HEADS, SIDE, STEP = 3, 8, 4
GRID = PoolingGrid(SIDE, SIDE, STEP, STEP)


def weights_of(seed: int) -> np.ndarray:
    weights = np.random.default_rng(seed).random((HEADS, SIDE, SIDE), np.float32)
    weights *= np.tri(SIDE, dtype=np.float32)
    return weights / weights.sum(axis=2, keepdims=True)


def feed(pooling: CellPooling, weights: np.ndarray) -> None:
    """Tiles of 3 rows and of one head, then of the other two; the cells lie across the tiles."""
    for first in range(0, SIDE, 3):
        rows = Rows(np.arange(first, min(first + 3, SIDE)))
        for heads in (slice(0, 1), slice(1, HEADS)):
            mask = Mask(None, causal=True).tile(heads, rows, SIDE)
            pooling.add(tile_from_weights(heads, rows, weights[heads, rows.selector], mask))


def cells(weights: np.ndarray) -> np.ndarray:
    """[heads, queries, keys] → [heads, cells, cells, queries of a cell, keys of a cell]"""
    count = SIDE // STEP
    return weights.reshape(len(weights), count, STEP, count, STEP).swapaxes(2, 3)


def test_mass_is_the_mean_over_queries_of_the_sum_over_keys() -> None:
    pooling, weights = MassPooling(GRID, HEADS, True, [2, 0]), weights_of(0)
    feed(pooling, weights)
    expected = cells(weights).sum(axis=4).mean(axis=3)
    np.testing.assert_allclose(pooling.average, expected.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(pooling.per_head, expected[[2, 0]], atol=1e-6)


def test_max_is_the_largest_weight_and_of_the_average_the_largest_mean() -> None:
    pooling, weights = MaxPooling(GRID, HEADS, True, [1]), weights_of(1)
    feed(pooling, weights)
    np.testing.assert_array_equal(pooling.per_head, cells(weights[[1]]).max(axis=(3, 4)))
    mean = weights.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(pooling.average, cells(mean).max(axis=(3, 4))[0], atol=1e-6)


@pytest.mark.parametrize("kind", [MassPooling, MaxPooling])
def test_only_cells_wholly_in_the_future_are_masked(kind: type[CellPooling]) -> None:
    pooling = kind(GRID, HEADS, True, [])
    feed(pooling, weights_of(2))
    np.testing.assert_array_equal(pooling.masked, [[False, True], [False, False]])
