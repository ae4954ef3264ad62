"""The two monitors: what a user touches.

`log_attention` goes the way of the folder: is the step due, capture, reduce, hand over. It waits
for nothing, and no error of ours leaves it.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self, Unpack

from torch import Tensor, nn

from attnmon.accounting.counters import Counters
from attnmon.accounting.overhead_budget import OverheadBudget
from attnmon.capture import manual_call, tensors_in
from attnmon.collector.collector import Collector
from attnmon.collector.flight_recorder import FlightRecorder
from attnmon.config import settings
from attnmon.config.settings import Settings
from attnmon.config.values import whole
from attnmon.layers.layer_selection import Coverage
from attnmon.options import DEFAULT_EPOCHS, Heads, Layers, Options
from attnmon.schedule import NO_STEPS, Schedule
from attnmon.serialize.step_info import StepInfo
from attnmon.serialize.token_labels import Tokens
from attnmon.session import dump_triggers
from attnmon.session.session import CLOSED, Session


class AttentionMonitor:
    """What both monitors do; they differ in what they ask the renderer for."""

    def __init__(self, chosen: Settings) -> None:
        settings.prepare_run(chosen)
        self._settings = chosen
        self._schedule = Schedule(chosen.save_frequency, chosen.save_on_epochs)
        self._session = Session(chosen)
        self._guard = self._session.guard
        self._counters = self._session.counters
        self._counters.interval = self._schedule.interval
        self._budget = OverheadBudget(chosen.max_overhead)
        self._collector = Collector(chosen, self._session)
        self._flight_recorder = FlightRecorder(chosen, self._session, self._collector)
        self._attached: nn.Module | None = None
        self._enabled = True
        self._quiet = NO_STEPS
        """At these steps nothing is to be done, as long as the epoch stays what it is."""
        self._epoch: int | None = None

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
        if type(step) is int and step in self._quiet and epoch is self._epoch:
            self._schedule.register_idle(step)
            return
        if not self._enabled:
            self._say_if_closed()
            return
        if self._guard.off:
            self._collector.reset()  # or every forward would be looked at to the end of the run
            return
        with self._guard:
            self._session.announce_landed()
            if type(step) is not int:
                step = _step(step)
            due = self._schedule.register(step, epoch)
            if due is not None or self._flight_recorder.enabled:
                _require_model(model)
                step_info = StepInfo(
                    step, due == "epoch", epoch, loss, lr, tokens, retained=due is None
                )
                self._look_at(step_info, model, enc, dec)
            self._collector.manual.clear()
            self._look_on(self._attached or model)
            self._epoch, self._quiet = epoch, self._quiet_steps()

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
            self._quiet = NO_STEPS

    def attach(self, model: nn.Module) -> None:
        """Look on at the model's own forwards from the next one on, instead of an extra one.

        For models that an extra forward would disturb: sharded ones, and ones with a memory. Then
        `log_attention(model, step=…, loss=…)` publishes what that step's own forward showed.
        """
        self._quiet = NO_STEPS
        with self._guard:
            self._attached = model
            if self.enabled:
                self._collector.arm(model, retained=self._next_is_retained())

    def detach(self) -> None:
        """Let go of the model: nothing of the monitor stays on it."""
        self._quiet = NO_STEPS
        with self._guard:
            self._attached = None
            self._collector.reset()

    @contextmanager
    def capture(self, step: int, inputs: Any = None, *, epoch: int | None = None) -> Iterator[None]:
        """Look on at the forward in this block, if the step is due.

        `log_attention` with the same step publishes it, with its loss. `inputs`, the batch or the
        model's inputs, tell how many samples there are.
        """
        self._quiet = NO_STEPS
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
        self._quiet = NO_STEPS
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
        self._quiet = NO_STEPS

    def disable(self) -> None:
        """Capture nothing until `enable`; calls cost next to nothing."""
        self._enabled, self._quiet = False, NO_STEPS
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
        self._enabled, self._quiet = False, NO_STEPS
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

    def _say_if_closed(self) -> None:
        if self._guard.off == CLOSED:
            self._guard.warn_once("closed", "a step was logged after close(): nothing is captured.")

    def _quiet_steps(self) -> range:
        busy = self._collector.armed or self._flight_recorder.enabled
        if busy or self._session.has_pending_copies:
            return NO_STEPS
        return self._schedule.idle_steps()

    def _look_at(self, step_info: StepInfo, model: nn.Module | None, enc: Any, dec: Any) -> None:
        if step_info.retained:
            self._flight_recorder.retain(step_info, model, enc, dec)
        else:
            self._publish(step_info, model, enc, dec)
        self._flight_recorder.account_time(due=not step_info.retained)

    def _publish(self, step_info: StepInfo, model: nn.Module | None, enc: Any, dec: Any) -> None:
        """Capture now or, where only the model's own forward may be looked at, at the next step."""
        if not self._session.publish(step_info, partial(self._collector.collect, model, enc, dec)):
            self._schedule.make_next_step_due("epoch" if step_info.by_epoch else "step")
        self._keep_to_budget()

    def _look_on(self, model: nn.Module | None) -> None:
        """At the model's next forward, if that is of a step to be looked at."""
        if self._schedule.next_is_due():
            with self._counters.timed():
                self._collector.arm(model)
        elif self._flight_recorder.enabled:
            self._flight_recorder.arm(model)
        else:
            self._collector.disarm()

    def _next_is_retained(self) -> bool:
        """Return whether the next step will be retained, not drawn, as far as is known."""
        return self._flight_recorder.enabled and not self._schedule.next_is_due()

    def _keep_to_budget(self) -> None:
        counters, schedule, budget = self._counters, self._schedule, self._budget
        spent = counters.hook_seconds - counters.retained_seconds
        changed = budget.review(spent, counters.dropped)
        counters.overhead = budget.overhead(spent)
        if not changed:
            return
        before = schedule.interval
        schedule.stretch_interval(budget.stretch)
        counters.interval = schedule.interval
        if counters.interval > before:
            counters.stretched += 1
            self._guard.warn_once("budget", _held_back(before, counters, self._settings))


def _held_back(before: int, counters: Counters, chosen: Settings) -> str:
    return (
        f"a capture every {before} steps took {counters.overhead:.2%} of training time, with "
        f"{counters.dropped} dropped; max_overhead allows {chosen.max_overhead:.2%} and no drops, "
        f"so captures are now made every {counters.interval} steps, and more often again when "
        "there is room. summary.json tells the interval; max_overhead=None keeps it as it was "
        "asked for."
    )


def _step(given: Any) -> int:
    try:
        return whole("step", given)
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


class TrainingAttentionMonitor(AttentionMonitor):
    """Pictures, statistics and TensorBoard of a transformer's attention, while it trains.

    Raises `ValueError` or `TypeError` for a setting that cannot be, `OSError` for a directory
    that cannot be written to. `docs/guide.md` describes every setting; what else there is to
    choose, with a word on each, is in `attnmon.options.Options`.
    """

    def __init__(
        self,
        save_dir: str | PathLike[str] = "./attention_logs",
        save_frequency: int = 100,
        save_on_epochs: Iterable[int] | None = DEFAULT_EPOCHS,
        visualization_types: Iterable[str] = ("heatmap", "statistics"),
        layers_to_visualize: Layers = (0, -1),
        heads_to_visualize: Heads = "average",
        max_workers: int = 2,
        batch_idx_to_visualize: int = 0,
        save_raw_weights: bool = False,
        use_tensorboard: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            settings.checked_settings(
                save_dir=save_dir,
                save_frequency=save_frequency,
                save_on_epochs=save_on_epochs,
                visualization_types=visualization_types,
                layers_to_visualize=layers_to_visualize,
                heads_to_visualize=heads_to_visualize,
                max_workers=max_workers,
                batch_idx_to_visualize=batch_idx_to_visualize,
                save_raw_weights=save_raw_weights,
                use_tensorboard=use_tensorboard,
                options=options,
            )
        )


class LightweightAttentionMonitor(AttentionMonitor):
    """Statistics only, of all layers and heads: a JSON history and TensorBoard, no pictures.

    Raises as `TrainingAttentionMonitor` does.
    """

    def __init__(
        self,
        save_dir: str | PathLike[str] = "./attention_logs",
        save_frequency: int = 50,
        save_on_epochs: Iterable[int] | None = DEFAULT_EPOCHS,
        layers_to_visualize: Layers = None,
        batch_idx_to_visualize: int = 0,
        use_tensorboard: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            settings.checked_settings(
                save_dir=save_dir,
                save_frequency=save_frequency,
                save_on_epochs=save_on_epochs,
                layers_to_visualize=layers_to_visualize,
                batch_idx_to_visualize=batch_idx_to_visualize,
                use_tensorboard=use_tensorboard,
                options=options,
            )
        )
