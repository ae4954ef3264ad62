"""The calls that both monitors offer.

`log_attention` follows the data flow: is the step due, capture, serialize, announce. It waits for
nothing, and none of attnmon's own errors leaves it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn

from attnmon.accounting import dump_triggers
from attnmon.accounting.error_guard import comes_from_signal_handler, words_of
from attnmon.capture import manual_call
from attnmon.collector.probe.probe_batch import ProbeBatch
from attnmon.config.settings import Settings, prepare_run
from attnmon.layers.layer_selection import Coverage
from attnmon.link.records.alert import Alert
from attnmon.monitor.logged_models import LoggedModels
from attnmon.monitor.model_part import ModelPart
from attnmon.monitor.step_capture import StepCapture
from attnmon.monitor.step_numbers import StepNumbers
from attnmon.schedule import NO_STEPS
from attnmon.serialize.sample_padding import Padding
from attnmon.serialize.small_image import Image
from attnmon.serialize.step_info import StepInfo
from attnmon.serialize.token_labels import Tokens
from attnmon.session.session import CLOSED, Session


class AttentionMonitor:
    """Base class of the monitors: all calls of a training script.

    One monitor belongs to one thread and one directory. Errors of attnmon during training are
    logged once and counted; they never stop the training.
    """

    def __init__(self, settings: Settings) -> None:
        probe_batch = ProbeBatch.of(settings.probe)
        hangs = prepare_run(settings)
        self._settings = settings
        self._session = Session(settings, hangs)
        self._guard = self._session.guard
        self._counters = self._session.counters
        self._steps = StepCapture(settings, self._session, probe_batch)
        self._schedule = self._steps.schedule
        self._collector = self._steps.collector
        self._flight_recorder = self._steps.flight_recorder
        self._models = LoggedModels(self._guard)
        self._part = ModelPart(settings, self._guard)
        self._numbers = StepNumbers(self._guard)
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
        image: Image = None,
        grad_norm: float | Tensor | None = None,
        padding: Padding = None,
    ) -> None:
        """Capture the attention of one sample of this batch, if the step is due.

        Call it once at each step, after the forward. It never waits for a picture or the disk, and
        leaves the model, its gradients and every random state as they were.

        Args:
            model (nn.Module | None): The model that is trained, as it is called. None publishes
                only what a `capture` block or `record` has given. Default: None.
            enc (Any): First input of the model: a tensor, a tuple of positional arguments, or a
                dict of keyword arguments. Give the tensors that the model was called with. Default:
                None.
            dec (Any): Second input, in the same forms; None for a model with one input. Default:
                None.
            step (int | None): Number of the training step; None counts the calls, from 0. It
                decides whether the step is due, names its folder, and is the step in TensorBoard.
                Default: None.
            loss (float | Tensor | None): The training loss of this step, a number or a tensor with
                one element, in the loss's own unit. It is recorded in the statistics and in
                TensorBoard. A tensor on a device is copied without waiting for it. A loss that is
                NaN or infinite is recorded as null, and has the steps that `keep_last` retains
                drawn. Default: None.
            epoch (int | None): Number of the current epoch, counted as `save_on_epochs` counts it.
                The first logged step of each of those is due. Default: None.
            lr (float | None): The learning rate of this step. It is recorded as the loss is.
                Default: None.
            tokens (Sequence[str] | tuple[Sequence[str], Sequence[str]] | Callable | None): Labels
                for the axes of the pictures, one for each position of the sample: a list, a pair
                (the encoder's, the decoder's), or a function that returns either and is called
                only when the step is captured. Default: None.
            image (Tensor | ArrayLike | Callable | None): What the model saw, for the pictures that
                lay attention over it: a batch of images, the image of the sample that is shown,
                or a function that returns either and is called only when the step is due. Values
                of uint8 are colours; others are stretched from the smallest to the largest. None
                takes the only image among the model's inputs, such as `pixel_values`. Default:
                None.
            grad_norm (float | Tensor | None): The norm of all gradients at this step, such as
                `clip_grad_norm_` returns it. It is recorded as the loss is. Default: None.
            padding (Tensor | tuple[Tensor, Tensor] | None): bool [batch, positions], True where
                there is padding, or a pair of them (the encoder's, the decoder's): attention that
                real positions pay to padding raises an alert. None takes the attention mask among
                the model's inputs. Default: None.

        Raises:
            Nothing of its own. An exception of a signal handler, such as Ctrl-C, passes through.
        """
        counters = self._counters
        if step is None and type(dec) is int:
            step, dec = self._step_in_place_of_dec(dec), None
        elif step is None:
            step = counters.steps
        counters.steps += 1
        if type(step) is int and step in self._idle_steps and epoch is self._idle_epoch:
            self._schedule.register_idle(step)
            if self._session.awaits_answers:
                self._hear()
            return
        if not self._enabled:
            self._warn_if_closed()
            return
        if self._guard.off:
            self._collector.watch.reset()  # or every forward would be looked at from now on
            self._session.report()
            return
        is_due = False
        with self._guard:
            with counters.timed():
                given = StepInfo(step, False, epoch, loss, lr, tokens, image, grad_norm, padding)
                is_due = self._log(given, model, enc, dec)
            self._flight_recorder.account_time(due=is_due)
        if self._session.awaits_answers or self._session.alerts.are_waiting:
            self._hear(has_read=is_due)

    def _hear(self, *, has_read: bool = False) -> None:
        """Read what the renderer has answered, and hand over its alerts; never waits.

        `has_read`: its answers were read already, before a capture was announced.
        """
        with self._guard.tolerant():
            if not has_read:
                with self._counters.timed():
                    self._session.poll()
            self._session.deliver_alerts()

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Every alert of this monitor's so far, open and past, each as it stands now.

        As far as the renderer has answered; it never waits.
        """
        with self._guard.tolerant():
            self._session.poll()
        return self._session.alerts.all

    def _log(self, given: StepInfo, model: nn.Module | None, enc: Any, dec: Any) -> bool:
        """Capture the step if it is due or to be retained, and prepare for the next.

        Returns whether it was due.
        """
        self._session.announce_completed()
        step, epoch = self._numbers.step(given.step), self._numbers.epoch(given.epoch)
        if step is None:
            self._count_as_failed("a step without a number")
            return False
        self._part.tell(model)
        if self._guard.off:
            return False
        if refused := self._models.refuse(model, step):
            self._collector.registry.set_unsupported(type(model).__name__, refused)
            return False
        due = self._schedule.register(step, epoch)
        if due is not None or self._flight_recorder.enabled:
            _require_model(model)
            step_info = replace(
                given, step=step, epoch=epoch, by_epoch=due == "epoch", retained=due is None
            )
            self._steps.capture(step_info, model, enc, dec)
        self._collector.manual.clear()
        self._steps.prepare_next_forward(model if self._attached is None else self._attached)
        self._idle_epoch, self._idle_steps = given.epoch, self._steps.idle_steps()
        return due is not None

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
        """Give attention that you have yourself to the next `log_attention`, as one more layer.

        Give either `weights`, or `query` and `key`. Tensors of three dimensions have one head:
        [batch, …]; those of two are one head of one sample. Nothing is copied unless the step is
        due.

        Args:
            name (str): Name of the layer; its role is read from it if `role` is None.
            weights (Tensor | None): Attention weights [batch, heads, queries, keys]. Default: None.
            query (Tensor | None): Queries [batch, heads, queries, width]. Default: None.
            key (Tensor | None): Keys [batch, heads, keys, width]. Default: None.
            mask (Tensor | None): Mask that broadcasts to the weights. bool: True may be attended;
                float: is added to the logits. It is used with `query` and `key`. Default: None.
            scale (float | None): Factor of query · key; None is 1 / √width. Default: None.
            causal (bool): Whether a query attends only to keys at its position or before. Default:
                False.
            role (str | None): "encoder_self", "decoder_self" or "decoder_cross". Default: None.

        Raises:
            Nothing. What cannot be attention is warned about once, and left out.
        """
        if not self._enabled or self._guard.off:
            return
        with self._guard.tolerant():
            seen = manual_call(
                name, weights=weights, query=query, key=key, mask=mask, scale=scale, causal=causal
            )
            self._collector.manual.add(seen, role)
            self._idle_steps = NO_STEPS

    def attach(self, model: nn.Module) -> None:
        """Capture in the model's own forwards, from the next one on, not in an extra one.

        It is for models of which no extra forward may be made: sharded ones (FSDP, ZeRO-3), and
        those of a job of several processes. Called before the loop, it shows the first step, too.
        `log_attention(model, step=…, loss=…)` then publishes what that step's own
        forward showed. It lasts until `detach`.

        Args:
            model (nn.Module): The model that is trained.

        Raises:
            Nothing. A model that cannot be captured is warned about.
        """
        self._idle_steps = NO_STEPS
        with self._guard:
            _require_model(model)
            self._models.tell_replaced(self._attached, model)
            self._attached = model
            if self.enabled:
                self._collector.watch.arm(model, retained=self._steps.next_is_retained())

    def detach(self) -> None:
        """Undo `attach`, and take everything of the monitor off the model. Never raises."""
        self._idle_steps = NO_STEPS
        with self._guard:
            self._attached = None
            self._collector.watch.reset()

    @contextmanager
    def capture(self, step: int, inputs: Any = None, *, epoch: int | None = None) -> Iterator[None]:
        """Capture in the forward that is made inside this `with` block, if the step is due.

        `log_attention` with the same step publishes it.

        Args:
            step (int): Number of the step, as it will be logged.
            inputs (Any): The batch, or the model's inputs: they show which dimension is the batch,
                and how many samples it has. Default: None.
            epoch (int | None): Number of the current epoch, as it will be logged. Default: None.

        Yields:
            None.

        Raises:
            Only what the block itself raises.
        """
        self._idle_steps = NO_STEPS
        due = False
        with self._guard:
            number, epoch = self._numbers.step(step), self._numbers.epoch(epoch)
            due = self.enabled and number is not None and self._schedule.is_due(number, epoch)
        with ExitStack() as block:
            if due or (self.enabled and self._flight_recorder.enabled):
                with self._guard:
                    self._flight_recorder.uses_blocks = True
                    watching = self._collector.watch.watch_block(inputs, retained=not due)
                    block.enter_context(watching)
            yield

    def capture_next(self) -> None:
        """Make the next logged step due, whatever its number. Never raises."""
        self._idle_steps = NO_STEPS
        self._schedule.make_next_step_due("step")
        with self._guard:
            if self.enabled:
                self._collector.watch.arm(self._attached)

    def dump(self, why: str) -> None:
        """Have the last `keep_last` steps drawn, and record the reason. Returns at once.

        A loss that is NaN or infinite, an error that leaves the `with` block or ends the script,
        and the death of this process do the same without a call.

        Args:
            why (str): The reason, for the statistics and `summary.json`.

        Raises:
            Nothing. Without `keep_last` there is a warning, since no steps are retained.
        """
        with self._guard:
            self._flight_recorder.dump(words_of(why))

    def coverage(self) -> tuple[Coverage, ...]:
        """Return what attention was found in the model, and what of it is captured.

        Returns:
            A row for each layer: its name, role, heads, and whether it is captured or why not.
            Empty before the first capture.

        Never raises.
        """
        rows: list[Coverage] = []
        with self._guard:
            rows += self._collector.registry.coverage(self._session.sent_as_queries)
        return tuple(rows)

    def enable(self) -> None:
        """Undo `disable`; after `close` it changes nothing. Never raises."""
        self._enabled = True
        self._idle_steps = NO_STEPS

    def disable(self) -> None:
        """Capture nothing until `enable`; calls then cost next to nothing. Never raises."""
        self._enabled, self._idle_steps = False, NO_STEPS
        with self._guard:
            self._collector.watch.reset()

    @property
    def enabled(self) -> bool:
        """Whether due steps are captured: False once disabled, closed, or off after an error."""
        return self._enabled and not self._guard.off and not self._session.closed

    def close(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the renderer has drawn what is pending, and return the accounts.

        A second call returns the same accounts at once.

        Args:
            timeout (float | None): Seconds to wait at most; None is `close_timeout`. The renderer
                draws by itself what is not drawn by then. Default: None.

        Returns:
            The counts of `summary.json` and "pending", the captures that are not drawn yet:
            captured == rendered + dropped + failed + pending.

        Raises:
            Nothing of its own. An exception of a signal handler, such as Ctrl-C, passes through.
        """
        self._enabled, self._idle_steps = False, NO_STEPS
        self.detach()
        return self._session.close(timeout)

    def _repr_html_(self) -> str:
        """Show the run in a notebook: how it stands, and its latest pictures. Never raises."""
        try:
            notebook = import_module("attnmon_renderer.report.notebook")  # only when one looks
            html: str = notebook.run_html(self._session.save_dir)
        except Exception as error:  # no failed capture: to be looked at costs the monitor nothing
            if comes_from_signal_handler(error.__traceback__):
                raise
            self._guard.warn_once("notebook", f"the run cannot be shown: {words_of(error)}")
            return f"<p>{type(self).__name__}: it cannot be shown; the log says why.</p>"
        return html

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same monitor, for a copy of a model that has it as an attribute."""
        return self

    def __reduce__(self) -> tuple[type[nullcontext[None]], tuple[()]]:
        """Pickle a context manager that does nothing, in place of the monitor, with a model."""
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
            if reason := dump_triggers.error_reason(error):
                self._session.dump(reason)
        self.close()

    def _count_as_failed(self, why: str) -> None:
        self._collector.manual.clear()
        self._counters.captured += 1
        self._counters.failed += 1
        self._counters.error = why

    def _step_in_place_of_dec(self, given: int) -> int:
        self._guard.warn_once(
            "dec",
            f"log_attention was given {given} for dec, the model's second input, and no step: it "
            f"is taken for the step. Say log_attention(model, x, step={given})",
        )
        return given

    def _warn_if_closed(self) -> None:
        if self._guard.off == CLOSED:
            self._guard.warn_once("closed", "a step was logged after close(): nothing is captured.")


def _require_model(model: Any) -> None:
    if model is not None and not isinstance(model, nn.Module):
        raise TypeError(
            f"the first argument must be the model, an nn.Module, not {type(model).__name__}: "
            "log_attention(model, enc, dec, step, loss). An exported or compiled program cannot be "
            "looked into: give the module that it was made of"
        )
