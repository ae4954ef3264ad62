"""A serializer that has layers summed up as if the CPU were a device, and what it writes."""

from typing import Any

import torch

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.layers.layer_numbering import parse_role
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.channel import Channel
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.run_setup import RenderOptions
from attnmon.link.ring import MEBIBYTE, make_ring
from attnmon.serialize.serializer import CaptureSerializer
from attnmon.session.producer import Producer
from attnmon_renderer.analysis.layer_attention import LayerAttention

SELF = SelectedLayer("blocks.0", parse_role("decoder_self"), 0, (0, 1))


class Device:
    """A serializer whose layers are summed up, and what it has written."""

    def __init__(self, options: RenderOptions) -> None:
        ours, self.theirs = Channel.pair()
        self.producer = Producer(make_ring(MEBIBYTE), ours, Counters())
        self.guard = ErrorGuard()
        self.serializer = CaptureSerializer(self.producer.ring, self.guard, options)
        assert self.serializer.summaries is not None
        self.summaries = self.serializer.summaries
        self.builder = self.producer.new_builder(sample=0, seen_in="forward")

    def write(self, call: Any, layer: SelectedLayer = SELF) -> Attention:
        with torch.no_grad():
            self.serializer.write(layer, call, self.builder)
        return self.builder.attentions[-1]

    def read(self, attention: Attention) -> LayerAttention:
        return LayerAttention(attention, bytes(self.producer.ring.memory))

    def next_capture(self) -> None:
        self.builder = self.producer.new_builder(sample=0, seen_in="forward")

    def close(self) -> None:
        self.producer.abandon()
        self.theirs.close()
        del self.producer, self.serializer, self.summaries, self.builder
