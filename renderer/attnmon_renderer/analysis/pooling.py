"""Attention gathered in the cells of coarser maps, tile by tile."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from attnmon_renderer.analysis.arrays import Floats, Rows, Scratch
from attnmon_renderer.analysis.masks import MaskTile
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile

CellRange = tuple[slice, slice]  # rows and columns of cells


class CellPooling(ABC):
    """Gathers a map averaged over the heads, maps of single heads, and where nothing is allowed.

    The rows of a tile are to be unbroken, and all heads of some rows to come before the next rows.
    """

    def __init__(self, grid: PoolingGrid, sent: int, average: bool, heads: Sequence[int]) -> None:
        self.grid = grid
        self.average = np.zeros(self.grid.shape, np.float32)
        """[cells, cells]; zero unless it was asked for"""
        self.per_head = np.zeros((len(heads), *self.grid.shape), np.float32)
        """[heads, cells, cells]"""
        self.masked = np.ones(self.grid.shape, np.bool_)
        """[cells, cells] No query of the cell may attend to any of its keys."""
        self._wants_average = average
        self._heads = heads
        self._sent = sent
        self._mask: MaskTile | None = None
        self._scratch = Scratch()

    @np.errstate(all="ignore")
    def add(self, tile: SoftmaxTile) -> None:
        """Gather a tile."""
        place = self.grid.place(tile.rows, tile.numerators.shape[2])
        if tile.mask is not self._mask:  # heads that share a mask share the object
            self._mask = tile.mask
            self.masked[place] &= ~self.grid.allowed(tile.mask)
        self._add_weights(tile, place)

    @abstractmethod
    def _add_weights(self, tile: SoftmaxTile, place: CellRange) -> None: ...

    def _wanted(self, tile: SoftmaxTile) -> Iterator[tuple[int, int]]:
        """Where the wanted heads lie in the maps, and in the tile."""
        for position, head in enumerate(self._heads):
            if tile.heads.start <= head < tile.heads.stop:
                yield position, head - tile.heads.start


class MassPooling(CellPooling):
    """A cell is the mean over its queries of the sum over its keys."""

    def _add_weights(self, tile: SoftmaxTile, place: CellRange) -> None:
        if self.grid.query_step == 1 and not self._heads:
            self.average[place] += self.grid.sum_keys(self._average_heads(tile))
            return
        cells = self.grid.sum_keys(self._average_queries(tile))
        if self._wants_average:
            self.average[place] += cells.sum(axis=0) / self._sent
        for position, head in self._wanted(tile):
            self.per_head[position][place] += cells[head]

    def _average_heads(self, tile: SoftmaxTile) -> Floats:
        """[rows, keys] what the tile's heads give of the average"""
        out = self._scratch.take(*tile.numerators.shape[1:])
        np.einsum("hr,hrk->rk", tile.factors / self._sent, tile.numerators, out=out)
        return out

    def _average_queries(self, tile: SoftmaxTile) -> Floats:
        """[heads, cells, keys] what the tile's rows give of each cell, by a matrix product each"""
        shares = (
            tile.factors / self.grid.queries_in_cells[tile.rows.indices // self.grid.query_step]
        )
        if self.grid.query_step == 1:
            out = self._scratch.take(*tile.numerators.shape)
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

    _mean: Floats

    def _add_weights(self, tile: SoftmaxTile, place: CellRange) -> None:
        weights = tile.weights(tile.numerators.shape[2])
        if self._wants_average:
            self._add_average(self.average[place], tile, weights)
        if self._heads:
            cells = self._largest(weights, tile.rows)
            for position, head in self._wanted(tile):
                into = self.per_head[position][place]
                np.maximum(into, cells[head], out=into)

    def _add_average(self, into: Floats, tile: SoftmaxTile, weights: Floats) -> None:
        """The mean over all heads first, then the largest; so wait for the last heads."""
        mean = weights.sum(axis=0) / self._sent
        self._mean = mean if tile.heads.start == 0 else self._mean + mean
        if tile.heads.stop == self._sent:
            np.maximum(into, self._largest(self._mean[None], tile.rows)[0], out=into)

    def _largest(self, weights: Floats, rows: Rows) -> Floats:
        pieces = [piece.max(axis=2) for piece in self.grid.split(weights, rows, axis=1)]
        return self.grid.reduce_keys(np.maximum, np.concatenate(pieces, axis=1))
