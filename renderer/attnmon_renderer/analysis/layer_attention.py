"""One layer's attention of one sample: from queries and keys in the ring to softmax weights.

The weights come a tile at a time, sized to stay in the cache while they are used. Nothing of size
queries × keys is held, whatever the length of the sequence.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon.link.messages import Attention
from attnmon_renderer.analysis.arrays import (
    Booleans,
    Doubles,
    Floats,
    Integers,
    Memory,
    Rows,
    Scratch,
    read,
    to_float32,
)
from attnmon_renderer.analysis.masks import Mask, MaskTile
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile, tile_of_logits, tile_of_weights

TILE = 2**18
"""Weights in a tile: a megabyte, and as much for the logits beside them, lie in a level-2 cache."""

MINIMUM_ROWS = 32
"""Rows in a tile, however long they are: with fewer the matrix product loses its speed."""

MAXIMUM_CAUSAL_ROWS = 128
"""Half of a square at the end of the rows is computed for nothing; so that square is small."""

ALL_HEADS = slice(None)

Scratches = tuple[Scratch, Scratch]  # for logits and numerators


class LayerAttention:
    """The attention that a message describes, computed from the ring's memory when asked for.

    ``softmax(softcap(scale · query · keyᵀ) + bias)``, with one more column for the sinks that is
    left out after the softmax. A row that may attend to nothing is zero, as it is in PyTorch's
    `scaled_dot_product_attention`. NaN and infinity in the input stay visible as NaN.

    Raises ValueError when the memory ends before the arrays do.
    """

    def __init__(self, attention: Attention, memory: Memory) -> None:
        self.attention = attention
        self.shape = attention.shape
        """(heads, queries, keys)"""
        self._memory = memory
        self._weights = None if attention.weights is None else read(attention.weights, memory)
        bias = None if attention.bias is None else read(attention.bias, memory)
        self._mask = Mask(bias, attention.causal)

    @property
    def allowed(self) -> Booleans | None:
        """Broadcastable to [heads, queries, keys]: what the bias leaves; None where that is all."""
        return self._mask.allowed

    def positions(self, rows: Rows) -> Doubles:
        """[rows] Where each query stands among the keys, were both sequences equally long."""
        _, queries, keys = self.shape
        if queries == keys or self.attention.causal:
            return rows.indices.astype(np.float64)
        return np.asarray(rows.indices * (keys / queries))

    def full(self) -> Floats:
        """[heads, queries, keys] All weights at once: for small maps only."""
        weights = np.zeros(self.shape, np.float32)
        for tile in self.tiles():
            weights[tile.heads, tile.rows.selector] = tile.weights(self.shape[2])
        return weights

    def tiles(
        self, rows: Integers | None = None, heads: slice = ALL_HEADS, size: int = TILE
    ) -> Iterator[SoftmaxTile]:
        """The weights of these heads and rows (None: of all rows), about `size` at a time.

        All heads of some rows come before the next rows. A tile is valid until the next one: its
        memory is used again.
        """
        rows = np.arange(self.shape[1]) if rows is None else rows
        first, end, _ = heads.indices(self.shape[0])
        keys = self.shape[2]
        if first >= end or not len(rows) or not keys:
            return
        height = max(MINIMUM_ROWS, size // keys)
        if self.attention.causal:
            height = min(height, MAXIMUM_CAUSAL_ROWS)
        scratch = Scratch(), Scratch()
        for top in range(0, len(rows), height):
            block = Rows(rows[top : top + height])
            depth = max(1, size // (len(block) * self._visible_keys(block)))
            slices = [slice(head, min(head + depth, end)) for head in range(first, end, depth)]
            yield from self._tiles_of(block, slices, scratch)

    def _tiles_of(
        self, rows: Rows, slices: list[slice], scratch: Scratches
    ) -> Iterator[SoftmaxTile]:
        mask = None
        for heads in slices:
            if mask is None or self._mask.differs_by_head:
                mask = self._mask.cut(heads, rows, self._visible_keys(rows))
            if self._weights is not None:
                weights = to_float32(self._weights[heads, rows.selector])
                yield tile_of_weights(heads, rows, weights, mask)
            else:
                yield self._softmax(heads, rows, mask, scratch)

    def _visible_keys(self, rows: Rows) -> int:
        """Under a causal mask what comes after the last row is never computed."""
        keys = self.shape[2]
        computed = self._weights is None and self.attention.causal
        return min(keys, rows.last + 1) if computed else keys

    def _softmax(self, heads: slice, rows: Rows, mask: MaskTile, scratch: Scratches) -> SoftmaxTile:
        shape = (heads.stop - heads.start, len(rows), self._visible_keys(rows))
        logits, numerators = (each.take(*shape) for each in scratch)
        self._fill(logits, heads, rows)
        sinks = None if self._sinks is None else self._sinks[heads]
        return tile_of_logits(heads, rows, logits, mask, sinks, out=numerators)

    @np.errstate(all="ignore")
    def _fill(self, logits: Floats, heads: slice, rows: Rows) -> None:
        """Put softcap(scale · query · keyᵀ) into [heads, rows, keys]."""
        query = to_float32(self._query[heads, rows.selector]) * np.float32(self.attention.scale)
        served = self.shape[0] // len(self._key)
        for index, head in enumerate(range(heads.start, heads.stop)):
            key = self._key[head // served, : logits.shape[2]]
            np.matmul(query[index], key.T, out=logits[index])
        if self.attention.softcap:
            softcap = np.float32(self.attention.softcap)
            logits /= softcap
            np.tanh(logits, out=logits)
            logits *= softcap

    @cached_property
    def _query(self) -> npt.NDArray[Any]:
        assert self.attention.query is not None
        return read(self.attention.query, self._memory)

    @cached_property
    def _key(self) -> Floats:
        assert self.attention.key is not None
        return to_float32(read(self.attention.key, self._memory))

    @cached_property
    def _sinks(self) -> Floats | None:
        sinks = self.attention.sinks
        return None if sinks is None else to_float32(read(sinks, self._memory))
