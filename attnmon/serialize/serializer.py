"""Serializes captures: each layer into the ring, all else into the message that names it."""

import torch
from torch import Tensor

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import (
    AttentionCall,
    SdpaCall,
    approximation_note,
    join_notes,
    measured_error,
    with_evident_mask,
)
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import is_alike_for_queries
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.layer_summary import LayerSummary
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.run_setup import RenderOptions
from attnmon.link.records.training_accounts import Accounts
from attnmon.link.ring import Ring
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.capture_message import MessageFactory
from attnmon.serialize.ring_writer import (
    RingWriter,
    choose_heads,
    choose_mask,
    compact_mask,
    pick_heads,
)
from attnmon.serialize.step_info import StepInfo
from attnmon.serialize.summary_writer import SummaryWriter
from attnmon.serialize.written_layers import WrittenLayer, WrittenLayers, signature_of

CHECK_EVERY = 101
"""One in so many layers that were written before is checked against its own output all the same.

The check takes as long as five copies. A prime number: with 100, and 10 layers, it would always be
the same layer.
"""


class CaptureSerializer:
    """Writes the layers of a capture into the ring, and makes its message."""

    def __init__(
        self, ring: Ring, guard: ErrorGuard, summarised: RenderOptions | None = None
    ) -> None:
        """`summarised`: what is made of layers that CUDA devices may sum up; None: they may not."""
        self.ring_writer = RingWriter(ring)
        self.summaries = (
            None if summarised is None else SummaryWriter(self.ring_writer, summarised, guard)
        )
        self._messages = MessageFactory(guard)
        self._written = WrittenLayers()
        self._layers_written = 0

    def message(
        self, sequence: int, step_info: StepInfo, builder: CaptureBuilder, accounts: Accounts
    ) -> Capture:
        """Return the message that announces the builder's capture."""
        return self._messages.make(sequence, step_info, builder, accounts)

    def write(
        self,
        layer: SelectedLayer,
        call: AttentionCall,
        builder: CaptureBuilder,
        sample: int = 0,
        samples: int | None = None,
    ) -> None:
        """Copy one layer's attention of one sample into the ring, and add its record.

        `samples`: the number of samples in the model's batch; None if the call is of one sample
        already. Raises ValueError for an attention without positions, and `RingFull`, `TooLarge`.
        """
        self._layers_written += 1
        is_whole = call.batch == samples and len(layer.heads) == call.heads
        signature = signature_of(call) if is_whole else None
        written = None if signature is None else self._written.get(signature)
        if written is None or written.layer is not layer or self._is_checked(call):
            one = call if samples is None else call.of_model_sample(sample, samples)
            attention = self._describe_and_copy(layer, one, builder)
            if self._stays_so(layer, one):
                self._written.add(signature, layer, attention)
        else:
            assert call.query is not None
            assert call.key is not None
            query, key, bias = call.query[sample], call.key[sample], call.bias_of(sample)
            attention = self._copy(written, query, key, bias, builder)
        builder.attentions.append(attention)

    def write_alike(
        self,
        layer: SelectedLayer,
        call: SdpaCall,
        builder: CaptureBuilder,
        sample: int,
        samples: int,
    ) -> bool:
        """Write a layer that was written alike before, from its arguments alone.

        False, and nothing done, where it has to be described first: `write` is for these.
        """
        written = self._written.get(call.signature)
        if written is None or written.layer is not layer or call.batch != samples:
            return False
        if not (self._layers_written + 1) % CHECK_EVERY:
            return False
        self._layers_written += 1
        query, key = call.query[sample], call.key[sample]
        bias = None if call.mask is None else call.mask_of(sample)
        builder.attentions.append(self._copy(written, query, key, bias, builder))
        return True

    def _stays_so(self, layer: SelectedLayer, call: AttentionCall) -> bool:
        """Return whether a layer that was written as query and key will be so the next time."""
        if self.summaries is None or call.is_on_cpu:
            return True
        return self.summaries.is_decided(layer.name)

    def _is_checked(self, call: AttentionCall) -> bool:
        return call.output is not None and not self._layers_written % CHECK_EVERY

    def _copy(
        self,
        written: WrittenLayer,
        query: Tensor,
        key: Tensor,
        bias: Tensor | None,
        builder: CaptureBuilder,
    ) -> Attention:
        mask = None if bias is None else self._write_mask(written.layer, bias, builder)
        ring, offset = self.ring_writer, builder.reserve(written.nbytes)
        query_memory, key_memory, attention = written.at(offset, mask, ring)
        ring.copy(query_memory, query)
        ring.copy(key_memory, key)
        return attention

    def _describe_and_copy(
        self, layer: SelectedLayer, call: AttentionCall, builder: CaptureBuilder
    ) -> Attention:
        if not call.queries or not call.keys:
            raise ValueError(
                f"{call.name or 'the attention'} is empty: {call.queries} queries and {call.keys} "
                "keys; look at how this batch was made"
            )
        if call.is_on_cpu:
            call = with_evident_mask(call)
        chosen = choose_heads(
            layer.heads,
            weights=call.weights,
            query=call.query,
            key=call.key,
            sinks=call.sinks,
        )
        error = measured_error(call)
        chosen |= _logits_of(call, layer.heads)
        summary = self._summary(layer, call, chosen, builder)
        bias = call.bias
        if summary is not None and self._suffices(summary):
            chosen = {}
            if bias is not None and not is_alike_for_queries(bias):
                bias = None
        blocks = self.ring_writer.write(chosen, builder)
        return Attention(
            name=layer.name.encode("utf-8", "backslashreplace").decode(),  # a name may be no text
            stack=layer.role.stack,
            layer=layer.layer,
            type=layer.role.type,
            source=call.source,
            heads=layer.heads,
            bias=self._write_mask(layer, bias, builder),
            weights=blocks.get("weights"),
            query=blocks.get("query"),
            key=blocks.get("key"),
            sinks=blocks.get("sinks"),
            largest_logits=blocks.get("largest_logits"),
            summary=summary,
            scale=float(call.scale),
            causal=bool(call.causal),
            softcap=float(call.softcap),
            earlier=max(call.earlier, 0),
            note=join_notes(call.note, approximation_note(call, error)),
            error=error,
            drawn=layer.drawn,
        )

    def _summary(
        self,
        layer: SelectedLayer,
        call: AttentionCall,
        chosen: dict[str, Tensor],
        builder: CaptureBuilder,
    ) -> LayerSummary | None:
        """Return what the layer's device makes of it; None where that is not to be sent."""
        if self.summaries is None or call.is_on_cpu or "query" not in chosen:
            return None
        tensors = LayerTensors(
            query=chosen["query"],
            key=chosen["key"],
            scale=float(call.scale),
            causal=bool(call.causal),
            softcap=float(call.softcap),
            bias=None if call.bias is None else choose_mask(layer.heads, call.bias),
            sinks=chosen.get("sinks"),
            earlier=max(call.earlier, 0),
        )
        return self.summaries.write(layer, tensors, builder)

    def _suffices(self, summary: LayerSummary) -> bool:
        """Return whether query and key need not be sent beside it."""
        return self.summaries is not None and self.summaries.trust.is_trusted(summary.kernel)

    def _write_mask(
        self, layer: SelectedLayer, bias: Tensor | None, builder: CaptureBuilder
    ) -> ArrayBlock | None:
        """Return where the mask lies in the ring; layers with equal masks share one block."""
        if bias is None:
            return None
        bias = compact_mask(choose_mask(layer.heads, bias))
        for block, written in builder.masks:
            if _is_equal(bias, written):
                return block
        block = self.ring_writer.write({"bias": bias}, builder)["bias"]
        builder.masks.append((block, self.ring_writer.view(block)))
        return block


def _logits_of(call: AttentionCall, heads: tuple[int, ...]) -> dict[str, Tensor]:
    """Return the largest logits of these heads, where they were seen."""
    seen = call.largest_logits
    if seen is None or len(seen.values) != call.heads:
        return {}
    return {"largest_logits": pick_heads(seen.values, heads)}


def _is_equal(mask: Tensor, written: Tensor) -> bool:
    """Compare by values; masks on a device count as different, as theirs are not known here.

    A mask's version does not tell of a change made through another view. To compare takes as long
    as to write it again, and saves the bytes in the ring.
    """
    return mask.is_cpu and mask.dtype == written.dtype and torch.equal(mask, written)
