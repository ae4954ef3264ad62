"""The attention of one layer for one sample: from queries and keys in the ring to softmax weights.

The weights are computed a tile at a time; a tile is small enough to stay in the cache while it is
used. Nothing of size queries × keys is held, however long the sequence is.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon_renderer.analysis.arrays import (
    Booleans,
    Doubles,
    Floats,
    Integers,
    Memory,
    Rows,
    ScratchBuffer,
    read_array,
    to_float32,
)
from attnmon_renderer.analysis.keys.reach import Reach, reach_between, reach_of
from attnmon_renderer.analysis.masks import Mask, MaskTile
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile, tile_from_logits, tile_from_weights

TILE_WEIGHTS = 2**18
"""Weights in a tile: 1 MiB of numerators and 1 MiB of logits fit in a level-2 cache."""

MINIMUM_ROWS = 32
"""Fewest rows in a tile, however long they are: with fewer the matrix product is slow."""

MAXIMUM_CAUSAL_ROWS = 128
"""Most rows in a causal tile: half of the square at the end of its rows is computed in vain."""

ALL_HEADS = slice(None)

ScratchPair = tuple[ScratchBuffer, ScratchBuffer]
"""For logits and for numerators."""


class LayerAttention:
    """The attention that a message describes, computed on demand from the ring's memory.

    ``softmax(softcap(scale · query · keyᵀ) + bias)``, with one more column for the sinks that is
    left out after the softmax. A row that may attend to nothing is zero, as it is in PyTorch's
    `scaled_dot_product_attention`. NaN and infinity in the input stay visible as NaN.

    Raises:
        ValueError: the memory ends before the arrays do.
    """

    def __init__(self, attention: Attention, memory: Memory) -> None:
        self.attention = attention
        self.shape = attention.shape
        """(heads, queries, keys)"""
        self.memory = memory
        self._weights = None if attention.weights is None else read_array(attention.weights, memory)
        bias = None if attention.bias is None else read_array(attention.bias, memory)
        self._mask = Mask(bias, attention.causal)
        self.padding = self._own_padding()
        """[queries] True for those that are padding: they count in no statistic, and are shown as
        masked. None if none is, or if that is not known."""
        self.declared = NO_PADDING
        """What the user's batch says is padding, whatever the mask says."""

    @property
    def parts(self) -> Sequence["LayerAttention"]:
        """The layers that it consists of."""
        return (self,)

    @property
    def allowed(self) -> Booleans | None:
        """What the bias allows, broadcastable to [heads, queries, keys]; None if it allows all."""
        return self._mask.allowed

    def _own_padding(self) -> Booleans | None:
        if self.attention.type != "self_attention":
            return None  # its mask tells of the keys' sequence only
        summary = self.attention.summary
        if self.attention.is_summarised and summary is not None and summary.padding is not None:
            padding = read_array(summary.padding, self.memory).astype(np.bool_)
            return padding if padding.any() else None
        return self._mask.padding(*self.shape[1:], self.attention.earlier)

    def key_positions(self, rows: Rows) -> Doubles:
        """Returns the key position that corresponds to each query, [rows].

        That is the query's own position, behind the keys of a prefix or a cache, or scaled where
        the two sequences differ in length.
        """
        _, queries, keys = self.shape
        if self.attention.earlier:
            return (rows.indices + self.attention.earlier).astype(np.float64)
        if queries == keys or self.attention.causal:
            return rows.indices.astype(np.float64)
        return np.asarray(rows.indices * (keys / queries))

    @property
    def seen_logits(self) -> Doubles | None:
        """[heads] The largest logits, where weights were sent and what their softmax was given."""
        block = self.attention.largest_logits
        if block is None:
            return None
        return to_float32(read_array(block, self.memory)).astype(np.float64)

    @property
    def is_own_future(self) -> bool:
        """Whether later keys are what its queries are to become, so that they should not be seen.

        So it is where a decoder attends to itself, each query at a key of its own.
        """
        _, queries, keys = self.shape
        attention = self.attention
        is_self = attention.type == "self_attention" and queries + attention.earlier == keys
        return is_self and attention.stack == "decoder"

    @cached_property
    def reach(self) -> Reach:
        """How far ahead its queries may look; of no cross-attention anything is said."""
        _, queries, keys = self.shape
        attention = self.attention
        if attention.type != "self_attention" or queries + attention.earlier != keys:
            return Reach()
        if attention.causal:
            return Reach(0)
        summary = attention.summary
        if attention.is_summarised and summary is not None and summary.ends is not None:
            return reach_between(read_array(summary.ends, self.memory), attention.earlier)
        return reach_of(self._allowed_rows, queries, attention.earlier)

    def _allowed_rows(self, rows: Integers) -> Booleans:
        if self._weights is not None and self.attention.bias is None:
            first, last = self._weights[0][rows], self._weights[-1][rows]
            return np.asarray((to_float32(first) > 0) | (to_float32(last) > 0))
        allowed = self._mask.tile(ALL_HEADS, Rows(rows), self.shape[2]).allowed.any(axis=0)
        return np.broadcast_to(allowed, (len(rows), self.shape[2]))

    @np.errstate(all="ignore")
    def normed_parts(self) -> list[bool | None]:
        """Return of each part whether queries, and keys, have one length; None if not known."""
        parts = len(self.parts)
        if self._weights is not None or not all(self.shape):
            return [None] * parts
        _, queries, keys = self.shape
        found = np.ones(parts, np.bool_)
        for array, positions in ((self._query, queries), (self._key, keys)):
            vectors = to_float32(array[:, :: -(-positions // MOST_MEASURED)])
            lengths = np.sqrt(np.einsum("hpw,hpw->hp", vectors, vectors))
            found &= have_one_length(lengths).reshape(parts, -1).all(axis=1)
            if not found.any():
                break
        return [bool(each) for each in found]

    def full(self) -> Floats:
        """Returns all weights at once, [heads, queries, keys]: for small maps only."""
        weights = np.zeros(self.shape, np.float32)
        for tile in self.tiles():
            weights[tile.heads, tile.rows.selector] = tile.weights(self.shape[2])
        return weights

    def tiles(
        self, rows: Integers | None = None, heads: slice = ALL_HEADS, size: int = TILE_WEIGHTS
    ) -> Iterator[SoftmaxTile]:
        """Yields the weights of these heads and rows in tiles of about `size` weights.

        `rows` of None are all rows. All heads of some rows come before the next rows. A tile is
        valid only until the next one, which reuses its memory.
        """
        rows = np.arange(self.shape[1]) if rows is None else rows
        first, end, _ = heads.indices(self.shape[0])
        keys = self.shape[2]
        if first >= end or not len(rows) or not keys:
            return
        tile_rows = max(MINIMUM_ROWS, size // keys)
        if self.attention.causal:
            tile_rows = min(tile_rows, MAXIMUM_CAUSAL_ROWS)
        scratch = ScratchBuffer(), ScratchBuffer()
        for start in range(0, len(rows), tile_rows):
            block = Rows(rows[start : start + tile_rows])
            tile_heads = max(1, size // (len(block) * self._visible_keys(block)))
            groups = [
                slice(head, min(head + tile_heads, end)) for head in range(first, end, tile_heads)
            ]
            yield from self._tiles_of_rows(block, groups, scratch)

    def _tiles_of_rows(
        self, rows: Rows, head_groups: list[slice], scratch: ScratchPair
    ) -> Iterator[SoftmaxTile]:
        mask = None
        for heads in head_groups:
            if mask is None or self._mask.differs_by_head:
                mask = self._mask.tile(heads, rows, self._visible_keys(rows))
            if self._weights is not None:
                weights = to_float32(self._weights[heads, rows.selector])
                yield tile_from_weights(heads, rows, weights, mask)
            else:
                yield self._softmax(heads, rows, mask, scratch)

    def _visible_keys(self, rows: Rows) -> int:
        """Returns how many keys to compute: under a causal mask none after the last row."""
        keys = self.shape[2]
        computed = self._weights is None and self.attention.causal
        return min(keys, rows.last + 1) if computed else keys

    def _softmax(
        self, heads: slice, rows: Rows, mask: MaskTile, scratch: ScratchPair
    ) -> SoftmaxTile:
        shape = (heads.stop - heads.start, len(rows), self._visible_keys(rows))
        logits, numerators = (buffer.array(*shape) for buffer in scratch)
        self._write_logits(logits, heads, rows)
        sinks = None if self._sinks is None else self._sinks[heads]
        return tile_from_logits(heads, rows, logits, mask, sinks, out=numerators)

    @np.errstate(all="ignore")
    def _write_logits(self, logits: Floats, heads: slice, rows: Rows) -> None:
        """Write softcap(scale · query · keyᵀ) to `logits` [heads, rows, keys].

        With grouped queries each key head serves several query heads.
        """
        query = to_float32(self._query[heads, rows.selector]) * np.float32(self.attention.scale)
        group_size = self.shape[0] // len(self._key)
        for index, head in enumerate(range(heads.start, heads.stop)):
            key = self._key[head // group_size, : logits.shape[2]]
            np.matmul(query[index], key.T, out=logits[index])
        if self.attention.softcap:
            softcap = np.float32(self.attention.softcap)
            logits /= softcap
            np.tanh(logits, out=logits)
            logits *= softcap

    @cached_property
    def _query(self) -> npt.NDArray[Any]:
        assert self.attention.query is not None
        return read_array(self.attention.query, self.memory)

    @cached_property
    def _key(self) -> Floats:
        assert self.attention.key is not None
        return to_float32(read_array(self.attention.key, self.memory))

    @cached_property
    def _sinks(self) -> Floats | None:
        sinks = self.attention.sinks
        return None if sinks is None else to_float32(read_array(sinks, self.memory))


class DeclaredPadding(NamedTuple):
    """Which positions the user's batch says are padding; None where it does not tell."""

    queries: Booleans | None = None
    keys: Booleans | None = None


NO_PADDING = DeclaredPadding()
MOST_MEASURED = 16
"""Vectors of a head whose lengths are compared."""
MOST_SPREAD = 0.03
"""Standard deviation of the lengths of vectors over their mean: that of normal ones with fewer
than 500 numbers is larger."""


@np.errstate(all="ignore")
def have_one_length(lengths: npt.NDArray[Any]) -> Booleans:
    """Return of each head whether its lengths [heads, positions] are one, but for 0."""
    lengths = lengths.astype(np.float64)
    counts = (lengths > 0).sum(axis=1)
    means = lengths.sum(axis=1) / counts
    variances = (lengths**2).sum(axis=1) / counts - means**2
    return np.asarray((counts > 3) & (variances < (MOST_SPREAD * means) ** 2))


def declare_padding(layers: Collection[LayerAttention], capture: Capture, memory: Memory) -> None:
    """Let each layer know which of its positions the user's batch says are padding."""
    blocks = {"encoder": capture.encoder_padding, "decoder": capture.decoder_padding}
    told: dict[str, Booleans] = {
        stack: read_array(block, memory).astype(np.bool_)
        for stack, block in blocks.items()
        if block is not None
    }
    for layer in layers:
        attention, (_, queries, keys) = layer.attention, layer.shape
        own = told.get(attention.stack)
        if attention.type == "cross_attention":
            others = told.get("encoder")
            of_queries = own if own is not None and len(own) == queries else None
            of_keys = others if others is not None and len(others) == keys else None
            layer.declared = DeclaredPadding(of_queries, of_keys)
        elif own is not None and len(own) == keys == queries + attention.earlier:
            layer.declared = DeclaredPadding(own[attention.earlier :], own)
        if layer.padding is not None and layer.declared.queries is not None:
            agreed = layer.padding & layer.declared.queries  # the mask may be the wrong way round
            layer.padding = agreed if agreed.any() else None


def share_padding(layers: Collection[LayerAttention]) -> None:
    """Let a decoder's cross-attentions know which of its queries are padding.

    The masks of its self-attention tell, where it is captured too.
    """
    known = {
        (layer.attention.stack, layer.shape[1]): layer.padding
        for layer in layers
        if layer.padding is not None and layer.attention.type == "self_attention"
    }
    for layer in layers:
        if layer.attention.type == "cross_attention":
            layer.padding = known.get((layer.attention.stack, layer.shape[1]))
