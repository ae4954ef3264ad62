"""Makes the message that announces a capture, of its layers and of what the user logged."""

import math
import time

from torch import Tensor

from attnmon.accounting.error_guard import ErrorGuard, comes_from_signal_handler, words_of
from attnmon.link.messages import Capture
from attnmon.link.records.training_accounts import Accounts
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.step_info import StepInfo
from attnmon.serialize.token_labels import Labels, Tokens, read_tokens


class MessageFactory:
    """Makes messages; a loss, learning rate or label that is wrong costs a warning, no capture."""

    def __init__(self, guard: ErrorGuard) -> None:
        self._guard = guard

    def make(
        self, sequence: int, step_info: StepInfo, builder: CaptureBuilder, accounts: Accounts
    ) -> Capture:
        """Return the message that announces the builder's capture."""
        encoder_tokens, decoder_tokens = self._tokens(step_info, builder)
        encoder_padding, decoder_padding = builder.padding_blocks
        return Capture(
            sequence=sequence,
            step=step_info.step,
            by_epoch=step_info.by_epoch,
            epoch=step_info.epoch,
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
            image=builder.image,
            grad_norm=self._number("grad_norm", step_info.grad_norm),
            encoder_padding=encoder_padding,
            decoder_padding=decoder_padding,
            decoder_reads_ids=builder.padding.decoder_reads_ids(builder.roles),
        )

    def _tokens(self, step_info: StepInfo, builder: CaptureBuilder) -> Labels:
        try:
            return read_tokens(_given_tokens(step_info, builder), builder.attentions)
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            text = f"{words_of(error)}. The axes show positions instead."
            self._guard.warn_once("tokens", text if text.startswith("token") else f"tokens: {text}")
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
        if given is None:
            return None
        try:
            return float(given.detach() if isinstance(given, Tensor) else given)  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError) as error:
            self._guard.warn_once(
                f"{name} is no number", f"{name}: give one number ({error}); it is recorded as null"
            )
            return None


def _given_tokens(step_info: StepInfo, builder: CaptureBuilder) -> Tokens:
    """Return what was logged with the step, or else what the sample's inputs give.

    What was logged is not of the user's own batch, where that is shown.
    """
    logged, made = None if builder.shows_probe else step_info.tokens, builder.tokens
    if logged is not None or made is None or made.sample != builder.sample:
        return logged
    return made.read(builder.roles)
