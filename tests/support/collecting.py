"""A session for collectors: slots without a ring, and a serializer that writes a log."""

from collections.abc import Iterable
from typing import Any

import torch

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import AttentionCall, SdpaCall
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.messages import SeenIn
from attnmon.link.records.ring_blocks import Slots
from attnmon.serialize.capture_builder import CaptureBuilder
from support.messages import LAYER


class FakeSession:
    """What a collector needs of a session. `written`: (layer, sample, samples) of each write."""

    def __init__(self) -> None:
        self.guard, self.counters = ErrorGuard(), Counters()
        self.serializer = self
        self.builders: list[CaptureBuilder] = []
        self.written: list[tuple[str, int, int | None]] = []
        self.calls: list[AttentionCall] = []
        self.error: Exception | None = None
        self.knows_signatures = False
        self.slots_in_use = 0

    def new_builder(self, *, sample: int, seen_in: SeenIn, retained: bool) -> CaptureBuilder:
        self.builders.append(
            CaptureBuilder(self, sample=sample, seen_in=seen_in, retained=retained)
        )
        return self.builders[-1]

    # The serializer's part

    def write(
        self,
        layer: SelectedLayer,
        call: AttentionCall,
        builder: CaptureBuilder,
        sample: int = 0,
        samples: int | None = None,
    ) -> None:
        if self.error is not None:
            raise self.error
        builder.reserve(1)
        builder.attentions.append(LAYER)
        self.written.append((layer.name, sample, samples))
        self.calls.append(call)

    def write_alike(
        self,
        layer: SelectedLayer,
        call: SdpaCall,
        builder: CaptureBuilder,
        sample: int,
        samples: int,
    ) -> bool:
        if self.knows_signatures:
            self.write(layer, any_call(call.name), builder, sample, samples)
        return self.knows_signatures

    # The slots' part

    def allocate(self, nbytes: int, *, retained: bool, hoped: int = 0) -> Slots:
        self.slots_in_use += 1
        return Slots(self.slots_in_use, 1)

    def free(self, runs: Iterable[Slots]) -> None:
        self.slots_in_use -= len(list(runs))


def any_call(name: str, batch: int = 3, **other: Any) -> AttentionCall:
    """A call of two heads and four positions, on random numbers."""
    fields: dict[str, Any] = {
        "call_index": 0,
        "source": "scaled_dot_product_attention",
        "heads": 2,
        "query": torch.randn(batch, 2, 4, 8),
        "key": torch.randn(batch, 2, 4, 8),
        "causal": True,
    }
    return AttentionCall(name, **{**fields, **other})
