"""The calls that both monitors offer.

`log_attention` follows the data flow: is the step due, capture, serialize, announce. It waits for
nothing, and none of attnmon's own errors leaves it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn

from attnmon.accounting import dump_triggers
from attnmon.capture import manual_call, tensors_in
from attnmon.config.settings import Settings, prepare_run
from attnmon.config.validation import whole_number
from attnmon.layers.layer_selection import Coverage
from attnmon.monitor.step_capture import StepCapture
from attnmon.schedule import NO_STEPS
from attnmon.serialize.step_info import StepInfo
from attnmon.serialize.token_labels import Tokens
from attnmon.session.session import CLOSED, Session


class AttentionMonitor:
    """What both monitors do; they differ in what they ask the renderer for."""

    def __init__(self, settings: Settings) -> None:
        prepare_run(settings)
        self._settings = settings
        self._session = Session(settings)
        self._guard = self._session.guard
        self._counters = self._session.counters
        self._steps = StepCapture(settings, self._session)
        self._schedule = self._steps.schedule
        self._collector = self._steps.collector
        self._flight_recorder = self._steps.flight_recorder
        self._attached: nn.Module | None = None
        self._enabled = True
        self._idle_steps = NO_STEPS
        """Steps at which nothing is to be done, as long as the epoch stays `_idle_epoch`."""
        self._idle_epoch: int | None = None

    def log_attention(
        self,
        model: nn.Module | None = None,
        enc: Any = None,
        dec: Any = None,
        step: int | None = None,
        loss: float | Tensor | None = None,
        *,
        epoch: int | None = None,
        lr: float | None = None,
        tokens: Tokens = None,
    ) -> None:
        """Capture the model's attention for one sample of this batch, if the step is due.

        `enc` and `dec` are the model's inputs: tensors, tuples of positional or dicts of keyword
        arguments; `dec` may be absent. Without `step` the calls are counted. `tokens` label the
        axes: a list, (the encoder's, the decoder's), or a function that gives them, called only
        when due. Never raises, never waits for a picture or the disk, and leaves the model, its
        gradients and every random state as they were.
        """
        counters = self._counters
        if step is None:
            step = counters.steps
        counters.steps += 1
        if type(step) is int and step in self._idle_steps and epoch is self._idle_epoch:
            self._schedule.register_idle(step)
            return
        if not self._enabled:
            self._warn_if_closed()
            return
        if self._guard.off:
            self._collector.reset()  # or every forward would be looked at to the end of the run
            return
        with self._guard:
            self._session.announce_completed()
            if type(step) is not int:
                step = _whole_step(step)
            due = self._schedule.register(step, epoch)
            if due is not None or self._flight_recorder.enabled:
                _require_model(model)
                step_info = StepInfo(
                    step, due == "epoch", epoch, loss, lr, tokens, retained=due is None
                )
                self._steps.capture(step_info, model, enc, dec)
            self._collector.manual.clear()
            self._steps.prepare_next_forward(self._attached or model)
            self._idle_epoch, self._idle_steps = epoch, self._steps.idle_steps()

    def record(
        self,
        name: str,
        *,
        weights: Tensor | None = None,
        query: Tensor | None = None,
        key: Tensor | None = None,
        mask: Tensor | None = None,
        scale: float | None = None,
        causal: bool = False,
        role: str | None = None,
    ) -> None:
        """Give attention you have yourself to the next `log_attention`, under this name.

        Either `weights` [batch, heads, queries, keys], or `query` and `key` [batch, heads,
        positions, width] with a `mask` (bool: True may be attended; float: is added). Three
        dimensions are read as [batch, …] of one head. `role` is "encoder_self", "decoder_self" or
        "decoder_cross", where the name does not say it. Nothing is copied unless the step is due.
        """
        if not self._enabled or self._guard.off:
            return
        with self._guard:
            seen = manual_call(
                name, weights=weights, query=query, key=key, mask=mask, scale=scale, causal=causal
            )
            self._collector.manual.add(seen, role)
            self._idle_steps = NO_STEPS

    def attach(self, model: nn.Module) -> None:
        """Look on at the model's own forwards from the next one on, instead of an extra one.

        For models that an extra forward would disturb: sharded ones, and ones with a memory. Then
        `log_attention(model, step=…, loss=…)` publishes what that step's own forward showed.
        """
        self._idle_steps = NO_STEPS
        with self._guard:
            self._attached = model
            if self.enabled:
                self._collector.arm(model, retained=self._steps.next_is_retained())

    def detach(self) -> None:
        """Let go of the model: nothing of the monitor stays on it."""
        self._idle_steps = NO_STEPS
        with self._guard:
            self._attached = None
            self._collector.reset()

    @contextmanager
    def capture(self, step: int, inputs: Any = None, *, epoch: int | None = None) -> Iterator[None]:
        """Look on at the forward in this block, if the step is due.

        `log_attention` with the same step publishes it, with its loss. `inputs`, the batch or the
        model's inputs, tell how many samples there are.
        """
        self._idle_steps = NO_STEPS
        due = self.enabled and self._schedule.is_due(step, epoch)
        with ExitStack() as block:
            if due or (self.enabled and self._flight_recorder.enabled):
                with self._guard:
                    self._flight_recorder.uses_blocks = True
                    watching = self._collector.watch_block(tensors_in(inputs), retained=not due)
                    block.enter_context(watching)
            yield

    def capture_next(self) -> None:
        """Make the next logged step due, whatever its number."""
        self._idle_steps = NO_STEPS
        self._schedule.make_next_step_due("step")
        if self.enabled:
            self._collector.arm(self._attached)

    def dump(self, why: str) -> None:
        """Have the last `keep_last` steps drawn, with the reason on record.

        Returns at once, and never raises. A loss that is NaN, an error that leaves the `with`
        block or ends the script, and the death of this process do the same by themselves.
        """
        with self._guard:
            self._flight_recorder.dump(str(why))

    def coverage(self) -> tuple[Coverage, ...]:
        """What was found: a row for each layer, and whether and why not it is captured.

        Empty before the first capture.
        """
        return self._collector.registry.coverage()

    def enable(self) -> None:
        """Capture again."""
        self._enabled = True
        self._idle_steps = NO_STEPS

    def disable(self) -> None:
        """Capture nothing until `enable`; calls cost next to nothing."""
        self._enabled, self._idle_steps = False, NO_STEPS
        self._collector.reset()

    @property
    def enabled(self) -> bool:
        """Whether due steps are captured: not disabled, not closed, not switched off."""
        return self._enabled and not self._guard.off and not self._session.closed

    def close(self, timeout: float | None = None) -> dict[str, Any]:
        """Let the renderer finish, and return the accounts. Calling it again returns them again.

        Waits at most `timeout` seconds (`close_timeout` by default); what is not drawn by then
        is "pending", and the renderer goes on with it by itself. Afterwards
        captured == rendered + dropped + failed + pending.
        """
        self._enabled, self._idle_steps = False, NO_STEPS
        self.detach()
        return self._session.close(timeout)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A model that has its monitor for an attribute is copied with the same monitor."""
        return self

    def __reduce__(self) -> tuple[type[nullcontext[None]], tuple[()]]:
        """A model that is saved whole takes no monitor along, but something that does nothing."""
        return nullcontext, ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._guard:
            if reason := dump_triggers.of_error(error):
                self._session.dump(reason)
        self.close()

    def _warn_if_closed(self) -> None:
        if self._guard.off == CLOSED:
            self._guard.warn_once("closed", "a step was logged after close(): nothing is captured.")


def _whole_step(given: Any) -> int:
    try:
        return whole_number("step", given)
    except TypeError:
        raise TypeError(
            f"step={given!r:.80} is no whole number. The call is log_attention(model, enc, dec, "
            "step, loss); for a model of one input, log_attention(model, x, step=step, loss=loss)"
        ) from None


def _require_model(model: Any) -> None:
    if model is not None and not isinstance(model, nn.Module):
        raise TypeError(
            f"the first argument must be the model, an nn.Module, not {type(model).__name__}: "
            "log_attention(model, enc, dec, step, loss)"
        )
