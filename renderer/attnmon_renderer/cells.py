"""Attention gathered in the cells of a coarser map, tile by tile."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.arrays import Floats, Integers, Rows
from attnmon_renderer.tile import Tile

Place = tuple[slice, slice]  # rows and columns of cells


class Grid:
    """Queries × keys cut into cells, at most `side` a side; the last ones may be smaller.

    Raises ValueError for a side below 1.
    """

    def __init__(self, queries: int, keys: int, side: int) -> None:
        if side < 1:
            raise ValueError(f"a map has 1 cell a side at least, not {side}")
        self.queries = queries
        self.query_step = max(1, math.ceil(queries / side))
        self.key_step = max(1, math.ceil(keys / side))
        self.shape = math.ceil(queries / self.query_step), math.ceil(keys / self.key_step)

    def cells_of(self, rows: Rows, keys: int) -> Place:
        """The cells that these rows and the first `keys` keys lie in."""
        above, below = rows.first // self.query_step, rows.last // self.query_step + 1
        return slice(above, below), slice(0, math.ceil(keys / self.key_step))

    def row_starts(self, rows: Rows) -> Integers:
        """Where among the rows each new cell begins."""
        return np.flatnonzero(np.diff(rows.indices // self.query_step, prepend=-1))

    def averaging(self, rows: Rows) -> Floats:
        """[cells, rows] takes sums over the rows of a cell, divided by how many it has in all."""
        cells, _ = self.cells_of(rows, 0)
        cell = np.arange(cells.start, cells.stop)
        size = np.minimum((cell + 1) * self.query_step, self.queries) - cell * self.query_step
        inside = rows.indices // self.query_step == cell[:, None]
        return np.asarray(inside / size[:, None], np.float32)

    def reduce_keys(self, ufunc: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Reduce the last dimension to cells."""
        if self.key_step == 1:
            return values
        starts = np.arange(0, values.shape[-1], self.key_step)
        return np.asarray(ufunc.reduceat(values, starts, axis=-1))


class Pool:
    """Gathers a map averaged over the heads, maps of single heads, and where nothing is allowed."""

    def __init__(
        self, shape: tuple[int, int, int], side: int, average: bool, heads: Sequence[int]
    ) -> None:
        self.grid = Grid(shape[1], shape[2], side)
        self.average = np.zeros(self.grid.shape, np.float32) if average else None
        self.per_head = np.zeros((len(heads), *self.grid.shape), np.float32)
        self.allowed = np.zeros(self.grid.shape, np.bool_)
        self._heads = heads
        self._all_heads = shape[0]

    @np.errstate(all="ignore")
    def add(self, tile: Tile) -> None:
        """Gather a tile. All heads of some rows are to come before the next rows."""
        place = self.grid.cells_of(tile.rows, tile.numerators.shape[2])
        self._add_allowed(tile, place)
        self._add_weights(tile, place)

    def _add_allowed(self, tile: Tile, place: Place) -> None:
        if tile.allowed is None:
            self.allowed[place] = True
            return
        rows = np.logical_or.reduce(tile.allowed, axis=0)
        if len(rows) > 1:
            rows = np.logical_or.reduceat(rows, self.grid.row_starts(tile.rows), axis=0)
        full = np.broadcast_to(rows, (len(rows), tile.numerators.shape[2]))
        self.allowed[place] |= self.grid.reduce_keys(np.logical_or, full)

    def _add_weights(self, tile: Tile, place: Place) -> None:
        raise NotImplementedError

    def _heads_in(self, tile: Tile) -> Iterator[tuple[int, int]]:
        """Where the wanted heads lie in the maps, and in the tile."""
        for position, head in enumerate(self._heads):
            if tile.heads.start <= head < tile.heads.stop:
                yield position, head - tile.heads.start


class MassPool(Pool):
    """A cell is the mean over its queries of the sum over its keys."""

    def _add_weights(self, tile: Tile, place: Place) -> None:
        cells = self.grid.reduce_keys(np.add, self._mean_over_queries(tile))
        if self.average is not None:
            self.average[place] += cells.sum(axis=0) / self._all_heads
        for position, head in self._heads_in(tile):
            self.per_head[position][place] += cells[head]

    def _mean_over_queries(self, tile: Tile) -> Floats:
        if self.grid.query_step == 1:
            return tile.weights(tile.numerators.shape[2])
        averaging = self.grid.averaging(tile.rows)
        means = (averaging * tile.factors[:, None, :]) @ tile.numerators
        if np.isfinite(means).all():
            return np.asarray(means, np.float32)
        # 0 · NaN spread from one row to all; sum the rows of each cell by themselves.
        weights = tile.weights(tile.numerators.shape[2]) * averaging.max(axis=0)[:, None]
        starts = self.grid.row_starts(tile.rows)
        return np.asarray(np.add.reduceat(weights, starts, axis=1), np.float32)


class MaxPool(Pool):
    """A cell is the largest weight in it."""

    _mean: Floats

    def _add_weights(self, tile: Tile, place: Place) -> None:
        weights = tile.weights(tile.numerators.shape[2])
        if self.average is not None:
            self._add_average(self.average[place], tile, weights)
        if self._heads:
            cells = self._largest(weights, tile.rows)
            for position, head in self._heads_in(tile):
                into = self.per_head[position][place]
                np.maximum(into, cells[head], out=into)

    def _add_average(self, into: Floats, tile: Tile, weights: Floats) -> None:
        """The mean over all heads first, then the largest; so wait for the last heads."""
        mean = weights.sum(axis=0) / self._all_heads
        self._mean = mean if tile.heads.start == 0 else self._mean + mean
        if tile.heads.stop == self._all_heads:
            np.maximum(into, self._largest(self._mean[None], tile.rows)[0], out=into)

    def _largest(self, weights: Floats, rows: Rows) -> Floats:
        if self.grid.query_step > 1:
            weights = np.maximum.reduceat(weights, self.grid.row_starts(rows), axis=1)
        return self.grid.reduce_keys(np.maximum, weights)
