"""How layers were written last time: one with the same signature is only copied.

To describe a layer, to check it and to find its memory takes several times as long as to copy it,
and gives the same result at every capture.
"""

from dataclasses import dataclass, field, replace

from torch import Tensor

from attnmon.capture import AttentionCall, CallSignature
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.serialize.ring_writer import RingWriter, aligned

MAX_LAYERS = 1024
MAX_OFFSETS = 8
"""Offsets in the ring for which a layer keeps its record: captures that wait lie at others."""


def signature_of(call: AttentionCall) -> CallSignature | None:
    """Return all that a layer's description follows from; None where it depends on values."""
    if call.signature is not None:
        return call.signature
    query, key = call.query, call.key
    if query is None or key is None or call.weights is not None or call.sinks is not None:
        return None
    return (
        call.name, call.call_index, query.shape, key.shape, query.dtype, key.dtype, call.rounding,
        call.scale, call.causal, call.softcap, call.note, call.source,
    )  # fmt: skip


@dataclass(slots=True)
class WrittenLayer:
    """The record of a layer, with all its heads, as it was written at first."""

    layer: SelectedLayer
    attention: Attention
    nbytes: int
    """Bytes that query and key take, side by side."""
    _at_offset: dict[tuple[int, ArrayBlock | None], tuple[Tensor, Tensor, Attention]] = field(
        default_factory=dict
    )

    def at(
        self, offset: int, bias: ArrayBlock | None, ring: RingWriter
    ) -> tuple[Tensor, Tensor, Attention]:
        """Return the ring's memory for query and key from this offset on, and their record."""
        placed = self._at_offset.get((offset, bias))
        if placed is None:
            if len(self._at_offset) >= MAX_OFFSETS:
                self._at_offset.clear()
            placed = self._at_offset[offset, bias] = self._placed(offset, bias, ring)
        return placed

    def _placed(
        self, offset: int, bias: ArrayBlock | None, ring: RingWriter
    ) -> tuple[Tensor, Tensor, Attention]:
        old = self.attention
        assert old.query is not None
        assert old.key is not None
        distance = old.key.offset - old.query.offset
        query, key = replace(old.query, offset=offset), replace(old.key, offset=offset + distance)
        attention = replace(old, query=query, key=key, bias=bias, error=None)
        return ring.view(query), ring.view(key), attention


class WrittenLayers(dict[CallSignature, WrittenLayer]):
    """The layers written so far, by their signature.

    A dict itself: it is asked for every layer of a capture.
    """

    def add(
        self, signature: CallSignature | None, layer: SelectedLayer, attention: Attention
    ) -> None:
        """Remember how a layer was written, if it has a signature, a query and a key."""
        query, key = attention.query, attention.key
        if signature is None or query is None or key is None:
            return
        if len(self) >= MAX_LAYERS:
            self.clear()
        nbytes = aligned(query.nbytes) + aligned(key.nbytes)
        self[signature] = WrittenLayer(layer, attention, nbytes)
