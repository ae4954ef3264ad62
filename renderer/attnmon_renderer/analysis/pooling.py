"""Pooling: tiles of weights are collected in the cells of smaller maps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from attnmon_renderer.analysis.arrays import Floats, Rows, ScratchBuffer
from attnmon_renderer.analysis.masks import MaskTile
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile

CellRegion = tuple[slice, slice]
"""Rows and columns of cells."""


class CellPooling(ABC):
    """Pools tiles into a map of the mean over the heads, maps of single heads, and a mask.

    The rows of a tile must be contiguous, and all heads of some rows must come before the next
    rows.
    """

    def __init__(
        self, grid: PoolingGrid, head_count: int, average: bool, heads: Sequence[int]
    ) -> None:
        self.grid = grid
        self.average = np.zeros(self.grid.shape, np.float32)
        """[cells, cells] Mean over all heads; zero unless it was requested."""
        self.per_head = np.zeros((len(heads), *self.grid.shape), np.float32)
        """[heads, cells, cells] The requested heads."""
        self.masked = np.ones(self.grid.shape, np.bool_)
        """[cells, cells] True where no query of the cell may attend to any of its keys."""
        self._wants_average = average
        self._heads = heads
        self._head_count = head_count
        self._mask: MaskTile | None = None
        self._scratch = ScratchBuffer()

    @np.errstate(all="ignore")
    def add(self, tile: SoftmaxTile) -> None:
        """Add a tile to the maps and to the mask."""
        region = self.grid.cells_of(tile.rows, tile.numerators.shape[2])
        if tile.mask is not self._mask:  # heads that share a mask share the object
            self._mask = tile.mask
            self.masked[region] &= ~self.grid.allowed(tile.mask)
        self._add_weights(tile, region)

    @abstractmethod
    def _add_weights(self, tile: SoftmaxTile, region: CellRegion) -> None: ...

    def _requested_heads(self, tile: SoftmaxTile) -> Iterator[tuple[int, int]]:
        """Yields the indices of each requested head: in `per_head`, and in the tile."""
        for index, head in enumerate(self._heads):
            if tile.heads.start <= head < tile.heads.stop:
                yield index, head - tile.heads.start


class MassPooling(CellPooling):
    """A cell is the mean over its queries of the sum over its keys."""

    def _add_weights(self, tile: SoftmaxTile, region: CellRegion) -> None:
        if self.grid.query_step == 1 and not self._heads:
            self.average[region] += self.grid.sum_keys(self._average_heads(tile))
            return
        if self._is_as_it_is:
            of_heads = self.per_head[tile.heads]
            weights = of_heads[:, region[0], region[1]]
            np.multiply(tile.numerators, tile.factors[..., None], out=weights)
            return
        cells = self.grid.sum_keys(self._average_queries(tile))
        if self._wants_average:
            self.average[region] += cells.sum(axis=0) / self._head_count
        for index, head in self._requested_heads(tile):
            self.per_head[index][region] += cells[head]

    @property
    def _is_as_it_is(self) -> bool:
        """Whether all heads are wanted, and nothing is pooled."""
        steps = self.grid.query_step, self.grid.key_step
        return (
            steps == (1, 1) and not self._wants_average and self._heads == range(self._head_count)
        )

    def _average_heads(self, tile: SoftmaxTile) -> Floats:
        """Returns the contribution of the tile's heads to the mean over all heads, [rows, keys]."""
        out = self._scratch.array(*tile.numerators.shape[1:])
        np.einsum("hr,hrk->rk", tile.factors / self._head_count, tile.numerators, out=out)
        return out

    def _average_queries(self, tile: SoftmaxTile) -> Floats:
        """Returns the contribution of the tile's rows to each cell's mean, [heads, cells, keys].

        Each cell is one matrix product.
        """
        shares = (
            tile.factors / self.grid.queries_in_cells[tile.rows.indices // self.grid.query_step]
        )
        if self.grid.query_step == 1:
            out = self._scratch.array(*tile.numerators.shape)
            np.multiply(tile.numerators, shares[..., None], out=out)
            return out
        pieces = zip(
            self.grid.split(shares, tile.rows, axis=1),
            self.grid.split(tile.numerators, tile.rows, axis=1),
            strict=True,
        )
        return np.concatenate([(left[:, :, None] @ right)[:, :, 0] for left, right in pieces], 1)


class MaxPooling(CellPooling):
    """A cell is the largest weight in it."""

    _head_mean: Floats

    def _add_weights(self, tile: SoftmaxTile, region: CellRegion) -> None:
        weights = tile.weights(tile.numerators.shape[2])
        if self._wants_average:
            self._add_average(self.average[region], tile, weights)
        if self._heads:
            cells = self._cell_maxima(weights, tile.rows)
            for index, head in self._requested_heads(tile):
                target = self.per_head[index][region]
                np.maximum(target, cells[head], out=target)

    def _add_average(self, target: Floats, tile: SoftmaxTile, weights: Floats) -> None:
        """Add the tile to the mean over all heads, and pool that mean after the last head."""
        mean = weights.sum(axis=0) / self._head_count
        self._head_mean = mean if tile.heads.start == 0 else self._head_mean + mean
        if tile.heads.stop == self._head_count:
            np.maximum(target, self._cell_maxima(self._head_mean[None], tile.rows)[0], out=target)

    def _cell_maxima(self, weights: Floats, rows: Rows) -> Floats:
        pieces = [piece.max(axis=2) for piece in self.grid.split(weights, rows, axis=1)]
        return self.grid.reduce_keys(np.maximum, np.concatenate(pieces, axis=1))
