"""The life of a monitor's renderer, seen from the training process: start, captures, farewell."""

import atexit
import logging
import os
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard, comes_from_signal_handler, describe
from attnmon.config.settings import Settings
from attnmon.link import descriptors
from attnmon.link.messages import LONGEST_ERROR, Capture, SeenIn
from attnmon.serialize.capture_builder import CaptureBuilder, NoRoomToRetain, NotSeen
from attnmon.serialize.device_copy import CopyBatch, DeviceCopies
from attnmon.serialize.serializer import CaptureSerializer
from attnmon.serialize.step_info import StepInfo
from attnmon.session import dump_triggers
from attnmon.session.capture_errors import CaptureErrors
from attnmon.session.dump_triggers import LossWatch
from attnmon.session.producer import Producer
from attnmon.session.shutdown import shut_down, summary_line
from attnmon.session.startup import Connection, NotOpened, gone, open_connection

logger = logging.getLogger("attnmon")

CLOSED = "it is closed"
"""Why a monitor is off that was on to its end."""


@dataclass(slots=True)
class PendingCapture:
    """A capture whose copies from the device are not complete yet."""

    copies: CopyBatch
    step_info: StepInfo
    builder: CaptureBuilder
    dump_reason: str = ""
    """Why all retained captures are to be drawn after this one; empty where they are not."""


class Session:
    """Owns the renderer, the ring and the accounts. Construction waits for nothing."""

    def __init__(self, settings: Settings) -> None:
        self.guard = ErrorGuard()
        self.counters = Counters()
        self._capture_errors = CaptureErrors(self.counters, self.guard, self._lose_renderer)
        self.closed = False
        self._settings = settings
        self._owner = os.getpid()
        self._sequence = 0
        self._pending = 0
        self._in_flight: list[PendingCapture] = []
        self._losses = LossWatch()
        self._connection: Connection | None = None
        if os.environ.get("ATTNMON_DISABLE", "0") not in ("", "0"):
            self.guard.off = "ATTNMON_DISABLE is set"
        elif not settings.rank_is_selected:
            self.guard.off = f"rank {settings.rank} is not among ranks={settings.ranks!r}"
        else:
            self._start()

    def _start(self) -> None:
        try:
            self._connection = open_connection(self._settings, self.counters, self.guard)
        except NotOpened as reason:
            self.guard.switch_off(str(reason))
            return
        self._settings = self._connection.settings
        _open_sessions.add(self)
        descriptors.abandon_after_fork(self)

    @property
    def _producer(self) -> Producer | None:
        return None if self._connection is None else self._connection.producer

    # While training

    def new_builder(self, *, sample: int, seen_in: SeenIn, retained: bool) -> CaptureBuilder:
        """Return an empty capture of this sample; `retained` if its step is not due."""
        assert self._producer is not None
        return self._producer.new_builder(sample=sample, seen_in=seen_in, retained=retained)

    def publish(self, step_info: StepInfo, collect: Callable[[], CaptureBuilder]) -> bool:
        """Announce what `collect` returns, and count what becomes of it; raises no error of ours.

        False when it could not be looked at now, and should be at the next step.
        """
        if self._producer is None or self.guard.off:
            return True
        _require_possible(step_info.step)
        self.counters.last_step = step_info.step
        self.counters.captured += 1
        try:
            with self._counted(step_info), collect() as builder:
                self.poll()
                if not builder.attentions:
                    self.counters.captured -= 1  # there was nothing to see, and that was said
                else:
                    self._pass_on(self._producer, step_info, builder)
        except (NotSeen, NoRoomToRetain):  # the latter was taken for a step that is not due
            self.counters.captured -= 1
            return False
        return True

    def retain(self, step_info: StepInfo, collect: Callable[[], CaptureBuilder]) -> bool:
        """Have the renderer keep what `collect` returns. Whether anything was seen."""
        seen = True  # also what there is no room for
        if self._producer is None or self.guard.off:
            return seen
        _require_possible(step_info.step)
        self.counters.last_step = step_info.step
        with self._capture_errors.uncounted(step_info), collect() as builder:
            self.poll()
            seen = bool(builder.attentions)
            if seen:
                self._pass_on(self._producer, step_info, builder)
        return seen

    def dump(self, reason: str) -> None:
        """Have all drawn that was kept so far; returns at once."""
        producer = self._producer
        if producer is None or producer.lost or producer.refusal or not self._settings.keep_last:
            return
        if self._in_flight:
            # The captures whose copies are not complete belong to the dump: it comes after them.
            self._in_flight[-1].dump_reason = reason[:LONGEST_ERROR]
        else:
            producer.dump(reason[:LONGEST_ERROR])

    def _pass_on(self, producer: Producer, step_info: StepInfo, builder: CaptureBuilder) -> None:
        """Announce it, now or when its copies have landed."""
        if self._copies is not None and self._copies.busy:
            self._in_flight.append(_detached(step_info, builder, self._copies))
        else:
            self._announce(producer, step_info, builder)

    def _counted(self, step_info: StepInfo) -> AbstractContextManager[None]:
        sequence, producer = self._sequence, self._producer
        return self._capture_errors.counted(
            step_info, lambda: producer is not None and producer.is_pending(sequence)
        )

    def _announce(self, producer: Producer, step_info: StepInfo, builder: CaptureBuilder) -> None:
        accounts = self.counters.as_message(producer.pending)
        message = self.serializer.message(self._sequence, step_info, builder, accounts)
        self._sequence += 1
        if step_info.retained:
            self._retain(producer, message, builder)
        else:
            producer.announce(message, builder)
            self.guard.succeeded()
        if self._settings.keep_last and (
            news := self._losses.trouble(step_info.step, message.loss)
        ):
            producer.dump(news)

    def _retain(self, producer: Producer, message: Capture, builder: CaptureBuilder) -> None:
        if words := producer.allocator.grow_for_window(builder.slots):
            self.guard.warn_once("window", words)
        if producer.allocator.window.capacity(builder.slots):
            producer.retain(message, builder)

    @property
    def serializer(self) -> CaptureSerializer:
        """Who writes captures down while they are taken."""
        assert self._connection is not None
        return self._connection.serializer

    @property
    def _copies(self) -> DeviceCopies | None:
        return None if self._connection is None else self.serializer.ring_writer.device_copies

    @property
    def has_pending_copies(self) -> bool:
        """Whether there is something to be announced at a later call, due or not."""
        return bool(self._in_flight)

    def announce_landed(self, *, wait: bool = False) -> None:
        """Announce what has come from the device in the meantime, in the order of the steps."""
        while self._in_flight and self._producer is not None:
            first = self._in_flight[0]
            if wait:
                first.copies.wait()
            if not first.copies.landed():
                return
            del self._in_flight[0]
            first.copies.finish()
            counted = self._capture_errors.uncounted if first.step_info.retained else self._counted
            with counted(first.step_info), first.builder as builder:
                self._announce(self._producer, first.step_info, builder)
            if first.dump_reason:
                self._producer.dump(first.dump_reason)

    def poll(self) -> None:
        """Take what the renderer has said since; never waits."""
        if self._producer is None or self._producer.lost:
            return
        still_there = self._producer.poll()
        for kind, text in self._producer.pop_notices():
            self.guard.warn_once(kind, text)
        self._heed_refusal()
        if not still_there and not self.closed:
            self._renderer_is_gone()

    def _lose_renderer(self) -> None:
        self.poll()  # it may have said why
        self._renderer_is_gone()

    def _heed_refusal(self) -> None:
        if self._producer is not None and self._producer.refusal:
            self.guard.switch_off(f"the renderer takes in no more: {self._producer.refusal}")

    def _renderer_is_gone(self) -> None:
        if self._connection is not None:
            self.guard.switch_off(gone(self._connection.renderer))

    def abandon(self) -> None:
        """Switch off in a forked child: training, renderer and ring are the parent's."""
        if self.closed:
            return
        self.guard.off = "this is a forked child of the training process"
        if self._connection is not None:
            self._connection.abandon()

    # At the end

    def __del__(self) -> None:
        """A monitor that was let go of without `close`: the renderer is told, not waited for."""
        if getattr(self, "_connection", None) is not None:  # it was constructed, and is not closed
            self.close(timeout=0)

    def close(self, timeout: float | None = None) -> dict[str, Any]:
        """Say goodbye, wait for what is pending, and return the accounts."""
        if self.closed or os.getpid() != self._owner:
            return self.accounts()
        self.closed = True
        _open_sessions.discard(self)
        timeout = self._settings.close_timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        try:
            self._finish(deadline)
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            self.guard.warn_once("close", f"attnmon did not close in order: {describe(error)}")
        finally:  # also after Ctrl-C, which must not have to wait for us
            self._let_go()
            self.guard.off = self.guard.off or CLOSED
        return self.accounts()

    def _finish(self, deadline: float) -> None:
        if self._connection is None:
            return
        self.announce_landed(wait=True)
        if not self._connection.producer.lost:
            shut_down(self._connection.producer, self.poll, deadline)
            self._heed_refusal()
        self._connection.renderer.wait(deadline - time.monotonic())
        logger.info("%s", summary_line(self.accounts(), self._settings.save_dir))

    def _let_go(self) -> None:
        """The accounts stay."""
        self._pending = self._unsettled()
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def accounts(self) -> dict[str, Any]:
        """captured == rendered + dropped + failed + pending, always."""
        counters = self.counters
        return {
            "captured": counters.captured,
            "rendered": counters.rendered,
            "dropped": counters.dropped,
            "failed": counters.failed,
            "pending": self._unsettled(),
            "steps": counters.steps,
            "last_step": counters.last_step,
            "hook_seconds": counters.hook_seconds,
            "overhead": counters.overhead,
            "interval": counters.interval,
            "stretched": counters.stretched,
            "save_dir": str(self._settings.save_dir),
        }

    def _unsettled(self) -> int:
        """Captures that are neither drawn nor given up yet."""
        if self._producer is None:
            return self._pending
        return self._producer.pending + sum(not one.step_info.retained for one in self._in_flight)


_open_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for session in list(_open_sessions):
        if reason := dump_triggers.at_exit():
            session.dump(reason)
        session.close()


def _detached(step_info: StepInfo, builder: CaptureBuilder, copies: DeviceCopies) -> PendingCapture:
    """Take the capture and its loss out of the step, to be announced when they are copied."""
    loss = step_info.loss
    if isinstance(loss, Tensor) and loss.device.type != "cpu":
        step_info = replace(step_info, loss=copies.scalar(loss.detach()))
    return PendingCapture(copies.depart(), step_info, builder.detach())


def _require_possible(step: int) -> None:
    if abs(step) >= 1 << 63:
        raise ValueError(f"step={step}: no step of a training, 64 bits are the most")
