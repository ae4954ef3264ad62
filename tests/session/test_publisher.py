"""The publisher against a producer, a serializer and copies that only keep a log."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from support.messages import CAPTURE, LAYER

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.link.messages import Capture
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.records.training_accounts import Accounts
from attnmon.serialize.capture_builder import CaptureBuilder, NoRoomToRetain, NotSeen, RingFull
from attnmon.serialize.step_info import StepInfo
from attnmon.session.capture_errors import CaptureErrors
from attnmon.session.publisher import Publisher


class Copies:
    """Copies from a device, which are complete when a test says so."""

    def __init__(self) -> None:
        self.has_copies = False
        self.batches: list[Copies.Batch] = []

    class Batch:
        def __init__(self) -> None:
            self.complete = False

        def is_complete(self) -> bool:
            return self.complete

        def wait(self) -> None:
            self.complete = True

        def finish(self) -> None:
            assert self.complete

    def end_batch(self) -> "Copies.Batch":
        self.batches.append(Copies.Batch())
        return self.batches[-1]


class Serializer:
    """Makes a message of the step and the sequence number alone."""

    def __init__(self) -> None:
        self.device_copies = Copies()
        self.ring_writer = self

    def message(
        self, sequence: int, step_info: StepInfo, builder: CaptureBuilder, accounts: Accounts
    ) -> Capture:
        loss = None if step_info.loss is None else float(step_info.loss)
        return replace(
            CAPTURE, sequence=sequence, step=step_info.step, loss=loss, accounts=accounts
        )


class Producer:
    """Logs what it is asked for; raises what a test wants."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.lost, self.refusal, self.pending = False, "", 0
        self.announced: list[int] = []
        self.error: Exception | None = None
        self.allocator = self.window = self
        self.capacity_left, self.advice = 1, ""

    def announce(self, capture: Capture, builder: CaptureBuilder) -> None:
        if self.error is not None:
            raise self.error
        self.log.append(f"announce {capture.step}")
        self.announced.append(capture.sequence)
        self.pending += 1
        builder.slots = []

    def retain(self, capture: Capture, builder: CaptureBuilder) -> None:
        self.log.append(f"retain {capture.step}")
        builder.slots = []

    def dump(self, reason: str) -> None:
        self.log.append(f"dump: {reason}")

    def is_pending(self, sequence: int) -> bool:
        return sequence in self.announced

    def grow_for_window(self, slots: list[Slots]) -> str:
        return self.advice

    def capacity(self, slots: list[Slots]) -> int:
        return self.capacity_left


class Source:
    """Slots without a ring."""

    def __init__(self) -> None:
        self.allocated: list[Slots] = []

    def allocate(self, nbytes: int, *, retained: bool, hoped: int = 0) -> Slots:
        self.allocated.append(Slots(len(self.allocated), 1))
        return self.allocated[-1]

    def free(self, runs: Iterable[Slots]) -> None:
        for run in runs:
            self.allocated.remove(run)


class Parts:
    def __init__(self, *, keeps_last: bool = True) -> None:
        self.counters, self.guard, self.producer = Counters(), ErrorGuard(), Producer()
        self.serializer, self.source, self.polls = Serializer(), Source(), 0
        self.copies = self.serializer.device_copies
        producer: Any = self.producer
        serializer: Any = self.serializer
        errors = CaptureErrors(self.counters, self.guard, lambda: None)
        self.publisher = Publisher(
            producer,
            serializer,
            self.counters,
            self.guard,
            errors,
            self.poll,
            keeps_last=keeps_last,
        )

    def poll(self) -> None:
        self.polls += 1

    def collect(self) -> CaptureBuilder:
        builder = CaptureBuilder(self.source)
        builder.reserve(1)
        builder.attentions.append(LAYER)
        return builder

    def collect_nothing(self) -> CaptureBuilder:
        return CaptureBuilder(self.source)


def step(number: int, *, retained: bool = False, loss: float | None = None) -> StepInfo:
    return StepInfo(number, by_epoch=False, epoch=None, loss=loss, lr=None, retained=retained)


@pytest.fixture
def parts() -> Parts:
    return Parts()


def raising(error: Exception) -> Any:
    def collect() -> CaptureBuilder:
        raise error

    return collect


def test_a_capture_is_announced_at_once_and_numbered(parts: Parts) -> None:
    assert parts.publisher.publish(step(10), parts.collect)
    assert parts.publisher.publish(step(20), parts.collect)
    assert parts.producer.log == ["announce 10", "announce 20"]
    assert parts.producer.announced == [0, 1]
    assert (parts.counters.captured, parts.counters.last_step, parts.polls) == (2, 20, 2)
    assert parts.publisher.pending == 2


def test_what_cannot_be_seen_now_is_asked_for_again_and_not_counted(parts: Parts) -> None:
    for error in (NotSeen(), NoRoomToRetain("watched as a step that is not due")):
        assert not parts.publisher.publish(step(0), raising(error))
    assert parts.counters.captured == 0


def test_what_shows_no_layer_is_no_capture(parts: Parts) -> None:
    assert parts.publisher.publish(step(0), parts.collect_nothing)
    assert not parts.publisher.retain(step(1, retained=True), parts.collect_nothing)
    assert (parts.counters.captured, parts.producer.log) == (0, [])


def test_a_drop_and_a_failure_are_counted_and_free_the_slots(parts: Parts) -> None:
    parts.producer.error = RingFull("behind")
    parts.publisher.publish(step(0), parts.collect)
    parts.producer.error = ValueError("odd")
    parts.publisher.publish(step(1), parts.collect)
    counters = parts.counters
    assert (counters.captured, counters.dropped, counters.failed) == (2, 1, 1)
    assert parts.source.allocated == []
    parts.producer.error = None
    parts.publisher.publish(step(2), parts.collect)
    assert parts.guard.failures_in_a_row == 0
    assert parts.producer.announced == [2], "a sequence number is never used twice"


def test_a_retained_step_does_not_count(parts: Parts) -> None:
    assert parts.publisher.retain(step(3, retained=True), parts.collect)
    assert parts.producer.log == ["retain 3"]
    assert (parts.counters.captured, parts.publisher.pending) == (0, 0)


def test_a_window_without_room_is_warned_of(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    parts.producer.capacity_left, parts.producer.advice = 0, "raise ring_bytes"
    assert parts.publisher.retain(step(3, retained=True), parts.collect), "it was seen"
    assert parts.producer.log == []
    assert parts.source.allocated == []
    assert "raise ring_bytes" in caplog.text


def test_captures_wait_for_their_copies_in_the_order_of_the_steps(parts: Parts) -> None:
    parts.copies.has_copies = True
    for number in range(3):
        parts.publisher.publish(step(number), parts.collect)
    assert parts.publisher.has_pending_copies
    assert (parts.publisher.pending, parts.producer.log) == (3, [])
    assert len(parts.source.allocated) == 3, "their slots are still theirs"
    parts.copies.batches[1].complete = True
    parts.publisher.announce_completed()
    assert parts.producer.log == [], "the first is not there yet"
    parts.copies.batches[0].complete = True
    parts.publisher.announce_completed()
    assert parts.producer.log == ["announce 0", "announce 1"]
    parts.publisher.announce_completed(wait=True)
    assert parts.producer.log[-1] == "announce 2"
    assert not parts.publisher.has_pending_copies


def test_a_copied_capture_that_cannot_be_announced_is_counted(parts: Parts) -> None:
    parts.copies.has_copies = True
    parts.publisher.publish(step(0), parts.collect)
    parts.producer.error = RingFull("behind")
    parts.publisher.announce_completed(wait=True)
    assert (parts.counters.captured, parts.counters.dropped) == (1, 1)
    assert parts.source.allocated == []


def test_a_dump_comes_after_the_copies_that_belong_to_it(parts: Parts) -> None:
    parts.publisher.dump("at once")
    parts.copies.has_copies = True
    parts.publisher.retain(step(1, retained=True), parts.collect)
    parts.publisher.dump("x" * 5000)
    assert parts.producer.log == ["dump: at once"]
    assert parts.publisher.pending == 0, "a retained step does not count before the dump"
    parts.publisher.announce_completed(wait=True)
    assert parts.producer.log[1:] == ["retain 1", "dump: " + "x" * 500]


def test_a_loss_that_is_no_number_dumps_what_was_retained(parts: Parts) -> None:
    for number, loss in enumerate((1.0, float("nan"), float("inf"))):
        parts.publisher.retain(step(number, retained=True, loss=loss), parts.collect)
    assert parts.producer.log == [
        "retain 0", "retain 1", "dump: the loss is nan at step 1", "retain 2",
    ]  # fmt: skip


def test_nothing_is_dumped_without_a_window_or_a_renderer(parts: Parts) -> None:
    without_window = Parts(keeps_last=False)
    without_window.publisher.publish(step(0, loss=float("nan")), without_window.collect)
    without_window.publisher.dump("why")
    assert without_window.producer.log == ["announce 0"]
    parts.producer.lost = True
    parts.publisher.dump("why")
    parts.producer.lost, parts.producer.refusal = False, "no such folder"
    parts.publisher.dump("why")
    assert parts.producer.log == []
