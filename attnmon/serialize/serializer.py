"""From what was seen to what is sent: layers into the ring, and the message that names them."""

import math
import time

import torch
from torch import Tensor

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import (
    AttentionCall,
    CallSignature,
    SdpaCall,
    approximation_note,
    measured_error,
    with_evident_mask,
)
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.messages import Accounts, ArrayBlock, Attention, Capture
from attnmon.link.ring import Ring
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.layout_cache import CallLayout, look
from attnmon.serialize.ring_writer import (
    RingWriter,
    aligned,
    choose_heads,
    choose_mask,
    compact_mask,
)
from attnmon.serialize.step_info import StepInfo
from attnmon.serialize.token_labels import read_tokens

CHECK_EVERY = 101
"""Of so many layers that look as they did before, one is checked against its own output, which
takes as long as to copy five. A prime number: with 100, and 10 layers, it would always be the
same."""
FORMS = 1024


class CaptureSerializer:
    """Writes captures down: arrays by way of the ring, all else in a message.

    What is wrong with a loss, a learning rate or labels is said, and costs these alone.
    """

    def __init__(self, ring: Ring, guard: ErrorGuard) -> None:
        self.ring_writer = RingWriter(ring)
        self._guard = guard
        self._forms: dict[CallSignature, CallLayout] = {}
        self._put = 0

    def write(
        self,
        place: SelectedLayer,
        seen: AttentionCall,
        builder: CaptureBuilder,
        sample: int = 0,
        samples: int | None = None,
    ) -> None:
        """Copy one layer's attention of one sample into the ring.

        samples: how many the model's batch has, as `AttentionCall.of_one`; None for what is of one
        sample already.
        """
        self._put += 1
        alike = look(seen) if seen.batch == samples and len(place.heads) == seen.heads else None
        form = None if alike is None else self._forms.get(alike)
        if form is None or form.place is not place or self._is_to_be_checked(seen):
            one = seen if samples is None else seen.of_model_sample(sample, samples)
            attention = self._written(place, one, builder)
            self._remember(alike, place, attention)
        else:
            assert seen.query is not None
            assert seen.key is not None
            query, key, bias = seen.query[sample], seen.key[sample], seen.bias_of(sample)
            attention = self._filled_in(form, query, key, bias, builder)
        builder.attentions.append(attention)

    def write_alike(
        self,
        place: SelectedLayer,
        call: SdpaCall,
        builder: CaptureBuilder,
        sample: int,
        samples: int,
    ) -> bool:
        """`put` a layer whose call looks as it did before; False, and nothing done, for others."""
        form = self._forms.get(call.signature)
        is_next_checked = not (self._put + 1) % CHECK_EVERY
        if form is None or form.place is not place or call.batch != samples or is_next_checked:
            return False
        self._put += 1
        query, key, bias = call.query[sample], call.key[sample], call.mask_of(sample)
        builder.attentions.append(self._filled_in(form, query, key, bias, builder))
        return True

    def _is_to_be_checked(self, seen: AttentionCall) -> bool:
        return seen.output is not None and not self._put % CHECK_EVERY

    def _remember(
        self, alike: CallSignature | None, place: SelectedLayer, attention: Attention
    ) -> None:
        query, key = attention.query, attention.key
        if alike is None or query is None or key is None:
            return
        if len(self._forms) >= FORMS:
            self._forms.clear()
        self._forms[alike] = CallLayout(
            place, attention, aligned(query.nbytes) + aligned(key.nbytes)
        )

    def _filled_in(
        self,
        form: CallLayout,
        query: Tensor,
        key: Tensor,
        bias: Tensor | None,
        builder: CaptureBuilder,
    ) -> Attention:
        mask = self._mask(form.place, bias, builder)
        offset = builder.reserve(form.nbytes)
        query_room, key_room, attention = form.at(offset, mask, self.ring_writer)
        self.ring_writer.copy(query_room, query)
        self.ring_writer.copy(key_room, key)
        return attention

    def _mask(
        self, place: SelectedLayer, bias: Tensor | None, builder: CaptureBuilder
    ) -> ArrayBlock | None:
        """Where the mask lies in the ring; layers that share one are given the same block."""
        if bias is None:
            return None
        bias = compact_mask(choose_mask(place.heads, bias))
        for block, written in builder.masks:
            if _is_equal(bias, written):
                return block
        block = self.ring_writer.write({"bias": bias}, builder)["bias"]
        builder.masks.append((block, self.ring_writer.room(block)))
        return block

    def _written(
        self, place: SelectedLayer, seen: AttentionCall, builder: CaptureBuilder
    ) -> Attention:
        if not seen.queries or not seen.keys:
            raise ValueError(
                f"{seen.name or 'the attention'} is empty: {seen.queries} queries and {seen.keys} "
                "keys; look at how this batch was made"
            )
        if seen.is_on_cpu:
            seen = with_evident_mask(seen)
        chosen = choose_heads(
            place.heads,
            weights=seen.weights,
            query=seen.query,
            key=seen.key,
            sinks=seen.sinks,
        )
        error = measured_error(seen)
        return Attention(
            name=place.name.encode("utf-8", "backslashreplace").decode(),  # also of what is no text
            stack=place.role.stack,
            layer=place.layer,
            type=place.role.type,
            source=seen.source,
            heads=place.heads,
            bias=self._mask(place, seen.bias, builder),
            **self.ring_writer.write(chosen, builder),
            scale=float(seen.scale),
            causal=bool(seen.causal),
            softcap=float(seen.softcap),
            note="; ".join(filter(None, (seen.note, approximation_note(seen, error)))),
            error=error,
        )

    def message(
        self,
        sequence: int,
        step_info: StepInfo,
        builder: CaptureBuilder,
        accounts: Accounts,
    ) -> Capture:
        """The capture in the draft, as it is announced."""
        encoder_tokens, decoder_tokens = self._tokens(step_info, builder)
        return Capture(
            sequence=sequence,
            step=step_info.step,
            by_epoch=step_info.by_epoch,
            epoch=None if step_info.epoch is None else int(step_info.epoch),
            loss=self._loss(step_info),
            lr=self._number("lr", step_info.lr),
            timestamp=time.time(),
            sample=builder.sample,
            seen_in=builder.seen_in,
            slots=tuple(builder.slots),
            attentions=tuple(builder.attentions),
            accounts=accounts,
            encoder_tokens=encoder_tokens,
            decoder_tokens=decoder_tokens,
        )

    def _tokens(
        self, step_info: StepInfo, builder: CaptureBuilder
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Labels for the axes; without them a capture is still worth having."""
        try:
            return read_tokens(step_info.tokens, builder.attentions)
        except (TypeError, ValueError) as error:
            self._guard.warn_once("tokens", f"{error}. The axes show positions instead.")
            return (), ()

    def _loss(self, step_info: StepInfo) -> float | None:
        loss = self._number("loss", step_info.loss)
        if loss is not None and not math.isfinite(loss):
            self._guard.warn_once(
                "loss",
                f"the loss is {loss} at step {step_info.step}; it is recorded as null. Look at the "
                "pictures of the steps before, and at the learning rate.",
            )
        return loss

    def _number(self, name: str, given: object) -> float | None:
        """A capture is worth having without its loss, so what is no number is only said."""
        if given is None:
            return None
        try:
            return float(given.detach() if isinstance(given, Tensor) else given)  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError) as error:
            self._guard.warn_once(
                f"{name} is no number", f"{name}: give one number ({error}); it is recorded as null"
            )
            return None


def _is_equal(mask: Tensor, written: Tensor) -> bool:
    """By their values, which a mask's own version does not tell of; on a device they are not known.

    To compare takes as long as to write it again, and spares its room in the ring.
    """
    return mask.is_cpu and mask.dtype == written.dtype and torch.equal(mask, written)
