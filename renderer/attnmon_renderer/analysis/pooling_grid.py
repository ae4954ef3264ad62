"""The grid of a pooled map: which queries and keys fall into which cell."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Floats, Rows
from attnmon_renderer.analysis.masks import MaskTile


@dataclass(frozen=True)
class PoolingGrid:
    """Cells of `query_step` × `key_step` positions; the last cells may be smaller."""

    queries: int
    keys: int
    query_step: int
    key_step: int

    @classmethod
    def of_side(cls, queries: int, keys: int, side: int) -> "PoolingGrid":
        """Returns the finest grid with at most `side` cells a side.

        Raises:
            ValueError: `side` is below 1.
        """
        if side < 1:
            raise ValueError(f"a map has 1 cell a side at least, not {side}")
        steps = (max(1, math.ceil(length / side)) for length in (queries, keys))
        return cls(queries, keys, *steps)

    @property
    def shape(self) -> tuple[int, int]:
        """(cells of queries, cells of keys)"""
        return math.ceil(self.queries / self.query_step), math.ceil(self.keys / self.key_step)

    @cached_property
    def queries_in_cells(self) -> Floats:
        """[cells] Number of queries in each row of cells."""
        starts = np.arange(self.shape[0]) * self.query_step
        return np.minimum(self.query_step, self.queries - starts).astype(np.float32)

    def cells_of(self, rows: Rows, keys: int) -> tuple[slice, slice]:
        """Returns the region of cells that these rows and the first `keys` keys fall into."""
        first, end = rows.first // self.query_step, rows.last // self.query_step + 1
        return slice(first, end), slice(0, math.ceil(keys / self.key_step))

    def split(self, values: npt.NDArray[Any], rows: Rows, axis: int) -> list[npt.NDArray[Any]]:
        """Split contiguous rows into cells; returns pieces of shape […, cells, rows of a cell, …].

        At most three pieces: the end of a cell, whole cells, and the start of a cell.
        """
        count, step = len(rows), self.query_step
        begin = min(count, -rows.first % step)
        end = begin + (count - begin) // step * step
        pieces = [piece for piece in np.split(values, [begin, end], axis) if piece.shape[axis]]
        front, back = values.shape[:axis], values.shape[axis + 1 :]
        return [piece.reshape(*front, -1, min(step, piece.shape[axis]), *back) for piece in pieces]

    def sum_keys(self, values: Floats) -> Floats:
        """Sum over the keys of each cell: […, keys] → […, cells]."""
        if self.key_step == 1:
            return values
        *front, keys = values.shape
        whole = keys - keys % self.key_step
        cells = values[..., :whole].reshape(*front, -1, self.key_step)
        sums = cells @ np.ones(self.key_step, np.float32)  # ten times as fast as numpy's sum
        rest = values[..., whole:].sum(axis=-1, keepdims=True)
        return np.concatenate([sums, rest], axis=-1) if whole < keys else np.asarray(sums)

    def reduce_keys(self, ufunc: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Reduce the keys of each cell by `ufunc`: […, keys] → […, cells]."""
        starts = np.arange(0, values.shape[-1], self.key_step)
        return np.asarray(ufunc.reduceat(values, starts, axis=-1))

    def allowed(self, mask: MaskTile) -> Booleans:
        """Returns [1 or cells, cells]: may any query of the cell attend to any of its keys?"""
        if mask.bias is None:
            return self._causally_allowed(mask)
        allowed = np.logical_or.reduce(mask.allowed, axis=0)
        if len(allowed) > 1:
            pieces = [piece.any(axis=1) for piece in self.split(allowed, mask.rows, axis=0)]
            allowed = np.concatenate(pieces)
        return self.reduce_keys(np.logical_or, allowed)

    def _causally_allowed(self, mask: MaskTile) -> Booleans:
        """Without a bias: the last query of a cell sees the most keys, so only it is looked at."""
        rows, keys = self.cells_of(mask.rows, mask.keys)
        last_queries = np.arange(rows.start + 1, rows.stop + 1) * self.query_step - 1
        reach = (
            np.minimum(last_queries, mask.rows.last) if mask.causal else last_queries + mask.keys
        )
        return np.asarray(np.arange(keys.stop) * self.key_step <= reach[:, None])
