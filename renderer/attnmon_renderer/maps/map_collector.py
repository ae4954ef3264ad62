"""Collects a layer's maps for `maps.safetensors` from the tiles of its analysis, in the same pass.

Cells are pooled by mass: the mean over a cell's queries of the sum over its keys.
"""

import math
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Floats, Integers, Rows
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.masks import MaskTile
from attnmon_renderer.analysis.pooling import MassPooling
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile


class MapCollector:
    """The maps of all heads of a layer, of at most `side` cells a side.

    Args:
        share: part of the queries that is wanted; below 1 each row of cells gets as many, evenly
            spaced among its own. Where the tiles of all queries come all the same, all are used.
    """

    def __init__(self, layer: LayerAttention, side: int, share: float = 1.0) -> None:
        heads, queries, keys = layer.shape
        self.grid = PoolingGrid.of_side(queries, keys, side)
        self.earlier = layer.attention.earlier
        """Keys before the first query's own."""
        self._layer = layer
        self._per_cell = max(1, math.floor(share * self.grid.query_step))
        self._strongest = StrongestKeys(heads, self.grid.shape[0])
        self._pooling: MassPooling | None = None
        self._added = 0
        self._mask: tuple[MaskTile, MaskTile] | None = None
        self.sampled: int | None = None
        """How many queries the maps are made of; None for all."""

    @cached_property
    def rows(self) -> Integers | None:
        """The queries that suffice, in order; None for all."""
        step, queries = self.grid.query_step, self.grid.queries
        if self._per_cell == step:
            return None
        starts = np.arange(0, queries, step)
        lengths = np.minimum(step, queries - starts)
        shares = (np.arange(self._per_cell) + 0.5) / self._per_cell
        rows: Integers = (starts[:, None] + (shares * lengths[:, None])).astype(np.intp).ravel()
        return rows

    def add(self, tile: SoftmaxTile) -> None:
        """Add a tile; all heads of some rows come before the next rows."""
        if self._pooling is None:
            self._begin(tile)
        assert self._pooling is not None
        if self.sampled is not None:
            tile = self._renumbered(tile)
        self._pooling.add(tile)
        self._strongest.add(tile, self._pooling.grid.query_step)
        if tile.heads.stop == self._layer.shape[0]:
            self._added += len(tile.rows)

    @property
    def values(self) -> Floats:
        """[heads, rows, columns] The weights of the cells."""
        if self._pooling is None:
            return np.zeros((self._layer.shape[0], *self.grid.shape), np.float32)
        return self._pooling.per_head

    @property
    def masked(self) -> Booleans:
        """[rows, columns] True where no query may attend to any key, and of padding."""
        masked = np.ones(self.grid.shape, np.bool_)
        if self._pooling is not None:
            masked = self._pooling.masked | (self._real_queries == 0)[:, None]
        return masked

    @property
    def received(self) -> Floats:
        """[heads, columns] The mean over queries of what the keys of a cell get; not of padding."""
        shares = self._real_queries / max(1.0, float(self._real_queries.sum()))
        received: Floats = np.einsum("hrc,r->hc", self.values, shares.astype(np.float32))
        return received

    @property
    def strongest(self) -> npt.NDArray[np.uint32]:
        """[heads, rows] The position of the key with the largest weight in each row of cells."""
        return self._strongest.keys

    @property
    def _real_queries(self) -> Floats:
        """[rows] How many of each cell's queries are no padding."""
        if self._layer.padding is None:
            return self.grid.queries_in_cells
        starts = np.arange(0, self.grid.queries, self.grid.query_step)
        return np.add.reduceat((~self._layer.padding).astype(np.float32), starts)

    def _begin(self, tile: SoftmaxTile) -> None:
        """Learn from the first tile whether the queries are those asked for, or all."""
        grid, rows = self.grid, self.rows
        if rows is not None and self._is_sample(tile, rows):
            self.sampled = len(rows)
            grid = PoolingGrid(len(rows), grid.keys, self._per_cell, grid.key_step)
        heads = self._layer.shape[0]
        self._pooling = MassPooling(grid, heads, average=False, heads=range(heads))

    def _is_sample(self, tile: SoftmaxTile, rows: Integers) -> bool:
        found = tile.rows.indices
        return len(found) <= len(rows) and bool((found == rows[: len(found)]).all())

    def _renumbered(self, tile: SoftmaxTile) -> SoftmaxTile:
        """Return a tile of sampled queries as one of queries that follow each other."""
        if self._mask is None or self._mask[0] is not tile.mask:
            rows = Rows(np.arange(self._added, self._added + len(tile.rows)))
            allowed = np.broadcast_to(
                tile.mask.allowed, (len(tile.mask.allowed), len(rows), tile.mask.keys)
            )
            self._mask = tile.mask, MaskTile(rows, tile.mask.keys, False, allowed)
        mask = self._mask[1]
        return replace(tile, rows=mask.rows, mask=mask)


class StrongestKeys:
    """The key with the largest single weight in each row of cells, head by head."""

    def __init__(self, heads: int, cells: int) -> None:
        self.keys = np.zeros((heads, cells), np.uint32)
        self._largest = np.full((heads, cells), -1, np.float32)

    @np.errstate(all="ignore")
    def add(self, tile: SoftmaxTile, query_step: int) -> None:
        """Add a tile of rows that follow each other."""
        weights = tile.factors * tile.largest_numerators
        keys = tile.numerators.argmax(axis=2)
        first, last = tile.rows.first // query_step, tile.rows.last // query_step
        if query_step > 1:
            weights, keys = _of_cells(weights, keys, tile.rows.indices // query_step)
        cells = tile.heads, slice(first, last + 1)
        is_larger = weights > self._largest[cells]
        self._largest[cells] = np.where(is_larger, weights, self._largest[cells])
        self.keys[cells] = np.where(is_larger, keys, self.keys[cells])


def _of_cells(weights: Floats, keys: Integers, cells: Integers) -> tuple[Floats, Integers]:
    """Return the largest weight of each cell's rows, and its key: the first of equal ones."""
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    largest = np.maximum.reduceat(weights, starts, axis=1)
    is_largest = weights == largest[:, cells - cells[0]]
    candidates = np.where(is_largest, keys, np.iinfo(np.intp).max)
    return largest, np.minimum.reduceat(candidates, starts, axis=1)
