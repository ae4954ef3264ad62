"""From what was seen to what is sent: layers into the ring, and the message that names them."""

import math
import time

from torch import Tensor

from attnmon.capture import Observation, doubt, measured_error, with_evident_mask
from attnmon.guard import Guard
from attnmon.link.messages import Accounts, Attention, Capture
from attnmon.link.ring import Ring
from attnmon.moment import About, Moment
from attnmon.outbox import Draft
from attnmon.places import Place
from attnmon.reduce import RingWriter, choose_heads
from attnmon.tokens import read_tokens


class Scribe:
    """Writes captures down: arrays by way of the ring, all else in a message.

    What is wrong with a loss, a learning rate or labels is said, and costs these alone.
    """

    def __init__(self, ring: Ring, guard: Guard) -> None:
        self.ring_writer = RingWriter(ring)
        self._guard = guard

    def put(self, place: Place, seen: Observation, draft: Draft) -> None:
        """Copy one layer's attention of one sample into the ring."""
        draft.attentions.append(self._written(place, seen, draft))

    def _written(self, place: Place, seen: Observation, draft: Draft) -> Attention:
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
            bias=seen.bias,
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
            **self.ring_writer.write(chosen, draft),
            scale=float(seen.scale),
            causal=bool(seen.causal),
            softcap=float(seen.softcap),
            note="; ".join(filter(None, (seen.note, doubt(seen, error)))),
            error=error,
        )

    def message(
        self, sequence: int, moment: Moment, about: About, draft: Draft, accounts: Accounts
    ) -> Capture:
        """The capture in the draft, as it is announced."""
        encoder_tokens, decoder_tokens = self._tokens(moment, draft)
        return Capture(
            sequence=sequence,
            step=moment.step,
            by_epoch=moment.by_epoch,
            epoch=None if moment.epoch is None else int(moment.epoch),
            loss=self._loss(moment),
            lr=self._number("lr", moment.lr),
            timestamp=time.time(),
            sample=about[0],
            seen_in=about[1],
            slots=tuple(draft.slots),
            attentions=tuple(draft.attentions),
            accounts=accounts,
            encoder_tokens=encoder_tokens,
            decoder_tokens=decoder_tokens,
        )

    def _tokens(self, moment: Moment, draft: Draft) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Labels for the axes; without them a capture is still worth having."""
        try:
            return read_tokens(moment.tokens, draft.attentions)
        except (TypeError, ValueError) as error:
            self._guard.warn_once("tokens", f"{error}. The axes show positions instead.")
            return (), ()

    def _loss(self, moment: Moment) -> float | None:
        loss = self._number("loss", moment.loss)
        if loss is not None and not math.isfinite(loss):
            self._guard.warn_once(
                "loss",
                f"the loss is {loss} at step {moment.step}; it is recorded as null. Look at the "
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
