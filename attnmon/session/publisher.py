"""Publishes captures: at once, or when their copies from a device are complete."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from torch import Tensor

from attnmon.accounting.counters import Counters
from attnmon.accounting.dump_triggers import LossWatch
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.link.messages import Capture
from attnmon.link.records.training_accounts import LONGEST_ERROR
from attnmon.serialize.capture_builder import CaptureBuilder, NoRoomToRetain, NotSeen
from attnmon.serialize.device_copy import CopyBatch, DeviceCopies
from attnmon.serialize.serializer import CaptureSerializer
from attnmon.serialize.step_info import StepInfo
from attnmon.session.capture_errors import CaptureErrors
from attnmon.session.producer import Producer

Collect = Callable[[], CaptureBuilder]
"""Copies a step's attention into the ring. Raises `NotSeen` when there is no way to see it now."""


@dataclass(slots=True)
class PendingCapture:
    """A capture whose copies from the device are not complete yet."""

    copies: CopyBatch
    step_info: StepInfo
    builder: CaptureBuilder
    dump_reason: str = ""
    """Why all retained captures are to be drawn after this one; empty where they are not."""


class Publisher:
    """Turns what was collected into messages to the renderer, in the order of the steps."""

    def __init__(
        self,
        producer: Producer,
        serializer: CaptureSerializer,
        counters: Counters,
        guard: ErrorGuard,
        errors: CaptureErrors,
        poll: Callable[[], None],
        *,
        keeps_last: bool,
    ) -> None:
        """`poll`: reads what the renderer has sent. `keeps_last`: there is a window of steps."""
        self._producer = producer
        self._serializer = serializer
        self._counters = counters
        self._guard = guard
        self._errors = errors
        self._poll = poll
        self._keeps_last = keeps_last
        self._losses = LossWatch()
        self._sequence = 0
        self._in_flight: list[PendingCapture] = []

    @property
    def pending(self) -> int:
        """The number of captures that are neither drawn nor given up yet."""
        in_flight = sum(not one.step_info.retained for one in self._in_flight)
        return self._producer.pending + in_flight

    @property
    def has_published_nothing(self) -> bool:
        """Whether the renderer has never been told of a capture."""
        return not self._sequence and not self._in_flight

    @property
    def has_pending_copies(self) -> bool:
        """Whether there is something to be announced at a later call, due or not."""
        return bool(self._in_flight)

    def publish(self, step_info: StepInfo, collect: Collect) -> bool:
        """Announce what `collect` returns, and count what becomes of it.

        False when it could not be seen now, and should be at the next step. Raises no error of
        ours.
        """
        self._counters.last_step = step_info.step
        self._counters.captured += 1
        try:
            with self._counted(step_info), collect() as builder:
                self._poll()
                if builder.attentions:
                    self._pass_on(step_info, builder)
                else:
                    self._counters.captured -= 1  # there was nothing to see, which was warned of
        except (NotSeen, NoRoomToRetain):  # the latter if it was watched as a step not due
            self._counters.captured -= 1
            return False
        return True

    def retain(self, step_info: StepInfo, collect: Collect) -> bool:
        """Name to the renderer what `collect` returns, to be drawn only after a dump.

        True if something was seen, whether or not there was room for it. Raises as `publish`.
        """
        self._counters.last_step = step_info.step
        seen = True
        with self._errors.uncounted(step_info), collect() as builder:
            self._poll()
            seen = bool(builder.attentions)
            if seen:
                self._pass_on(step_info, builder)
        return seen

    def dump(self, reason: str) -> None:
        """Have all drawn that was retained so far; returns at once."""
        if self._producer.lost or self._producer.refusal or not self._keeps_last:
            return
        if self._in_flight:
            # The captures whose copies are not complete belong to the dump: it comes after them.
            self._in_flight[-1].dump_reason = reason[:LONGEST_ERROR]
        else:
            self._producer.dump(reason[:LONGEST_ERROR])

    def announce_completed(self, *, wait: bool = False) -> None:
        """Announce the captures whose copies are complete by now, in the order of the steps."""
        while self._in_flight:
            first = self._in_flight[0]
            if wait:
                first.copies.wait()
            if not first.copies.is_complete():
                return
            del self._in_flight[0]
            first.copies.finish()
            counted = self._errors.uncounted if first.step_info.retained else self._counted
            with counted(first.step_info), first.builder as builder:
                self._announce(first.step_info, builder)
            if first.dump_reason:
                self._producer.dump(first.dump_reason)

    def _counted(self, step_info: StepInfo) -> AbstractContextManager[None]:
        sequence = self._sequence
        return self._errors.counted(step_info, lambda: self._producer.is_pending(sequence))

    def _pass_on(self, step_info: StepInfo, builder: CaptureBuilder) -> None:
        """Announce it, now or when its copies are complete."""
        copies = self._serializer.ring_writer.device_copies
        if copies.has_copies:
            self._in_flight.append(_detached(step_info, builder, copies))
        else:
            self._announce(step_info, builder)

    def _announce(self, step_info: StepInfo, builder: CaptureBuilder) -> None:
        accounts = self._counters.as_message(self._producer.pending)
        message = self._serializer.message(self._sequence, step_info, builder, accounts)
        self._sequence += 1
        if step_info.retained:
            self._retain(message, builder)
        else:
            self._producer.announce(message, builder)
            self._guard.succeeded()
        if self._keeps_last and (reason := self._losses.check(step_info.step, message.loss)):
            self._producer.dump(reason)

    def _retain(self, message: Capture, builder: CaptureBuilder) -> None:
        allocator = self._producer.allocator
        if advice := allocator.grow_for_window(builder.slots):
            self._guard.warn_once("window", advice)
        if allocator.window.capacity(builder.slots):
            self._producer.retain(message, builder)
        else:
            self._counters.not_retained += 1


def _detached(step_info: StepInfo, builder: CaptureBuilder, copies: DeviceCopies) -> PendingCapture:
    """Return the capture, its loss and its ids, to be announced when they are copied."""
    loss = step_info.loss
    if isinstance(loss, Tensor) and loss.device.type != "cpu":
        step_info = replace(step_info, loss=copies.copy_to_host(loss.detach()))
    norm = step_info.grad_norm
    if isinstance(norm, Tensor) and norm.device.type != "cpu":
        step_info = replace(step_info, grad_norm=copies.copy_to_host(norm.detach()))
    if builder.tokens is not None:
        builder.tokens.copy_to_host(copies.copy_to_host)
    return PendingCapture(copies.end_batch(), step_info, builder.detach())
