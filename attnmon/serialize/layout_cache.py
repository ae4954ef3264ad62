"""How a layer was written down last time: one that looks the same is only copied.

To describe a layer, to check it and to find its room takes several times as long as to copy it, and
says the same at every capture.
"""

from dataclasses import dataclass, field, replace

from torch import Tensor

from attnmon.capture import AttentionCall, CallSignature
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.messages import ArrayBlock, Attention
from attnmon.serialize.ring_writer import RingWriter

KEPT = 8
"""Places in the ring for which a form keeps its record: captures that wait lie at others."""


def look(seen: AttentionCall) -> CallSignature | None:
    """All that the description of a layer follows from; None where it follows from its values."""
    if seen.signature is not None:
        return seen.signature
    query, key = seen.query, seen.key
    if query is None or key is None or seen.weights is not None or seen.sinks is not None:
        return None
    return (
        seen.name, seen.call_index, query.shape, key.shape, query.dtype, key.dtype, seen.rounding,
        seen.scale, seen.causal, seen.softcap, seen.note, seen.source,
    )  # fmt: skip


@dataclass(slots=True)
class CallLayout:
    """A layer of all its heads, as it was written at first."""

    place: SelectedLayer
    attention: Attention
    nbytes: int
    """Of the run of slots that query and key were written to, side by side."""
    _filled: dict[tuple[int, ArrayBlock | None], tuple[Tensor, Tensor, Attention]] = field(
        default_factory=dict
    )

    def at(
        self, offset: int, bias: ArrayBlock | None, ring: RingWriter
    ) -> tuple[Tensor, Tensor, Attention]:
        """The rooms for query and key from this offset on, and the record that names them."""
        filled = self._filled.get((offset, bias))
        if filled is None:
            if len(self._filled) >= KEPT:
                self._filled.clear()
            filled = self._filled[offset, bias] = self._moved(offset, bias, ring)
        return filled

    def _moved(
        self, offset: int, bias: ArrayBlock | None, ring: RingWriter
    ) -> tuple[Tensor, Tensor, Attention]:
        old = self.attention
        assert old.query is not None
        assert old.key is not None
        behind = old.key.offset - old.query.offset
        query, key = replace(old.query, offset=offset), replace(old.key, offset=offset + behind)
        attention = replace(old, query=query, key=key, bias=bias, error=None)
        return ring.room(query), ring.room(key), attention
