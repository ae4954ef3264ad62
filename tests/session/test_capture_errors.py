"""What an exception during a capture becomes: a counter, a warning, or the user's own."""

import logging
import signal
from typing import Any

import pytest

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import FAILURES_BEFORE_OFF, ErrorGuard
from attnmon.link.channel import ChannelClosed
from attnmon.link.records.schema import MessageError
from attnmon.serialize.capture_builder import NoRoomToRetain, NotSeen, RingFull, TooLarge
from attnmon.serialize.step_info import StepInfo
from attnmon.session.capture_errors import CaptureErrors

STEP = StepInfo(7, by_epoch=False, epoch=None, loss=None, lr=None)


class Parts:
    """The errors of one session, and how often its renderer turned out to be lost."""

    def __init__(self) -> None:
        self.counters, self.guard, self.times_lost = Counters(), ErrorGuard(), 0
        self.errors = CaptureErrors(self.counters, self.guard, self.lose)

    def lose(self) -> None:
        self.times_lost += 1

    def counted(self, error: BaseException, *, announced: bool = False) -> None:
        with self.errors.counted(STEP, lambda: announced):
            raise error

    def uncounted(self, error: BaseException) -> None:
        with self.errors.uncounted(STEP):
            raise error


@pytest.fixture
def parts() -> Parts:
    return Parts()


def test_a_full_ring_is_a_drop_and_warned_of_once(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        parts.counted(RingFull("there is no room"))
    assert (parts.counters.dropped, parts.counters.failed) == (2, 0)
    [record] = caplog.records
    assert "step 7 was dropped: there is no room" in record.getMessage()


def test_an_error_is_a_failure_with_its_words_and_off_after_three(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(FAILURES_BEFORE_OFF):
        parts.counted(KeyError("layer"))
    assert (parts.counters.failed, parts.counters.dropped) == (3, 0)
    assert parts.counters.error.startswith("step 7: KeyError: 'layer'")
    assert "captures in a row failed" in parts.guard.off


@pytest.mark.parametrize("error", [TooLarge("a capture of 9 MiB"), MessageError("9 MB")], ids=repr)
def test_a_capture_that_is_too_large_names_what_would_help_and_leaves_the_monitor_on(
    error: Exception, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2 * FAILURES_BEFORE_OFF):
        parts.counted(error)
    assert (parts.counters.failed, parts.guard.off) == (6, "")
    (said,) = caplog.messages
    for remedy in ("layers_to_visualize", "heads_to_visualize", "ring_bytes"):
        assert remedy in said


def test_a_failed_call_of_the_model_says_how_models_are_called(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.counted(TypeError("forward() missing 1 required positional argument"))
    assert "Models are called as model(enc, dec)" in caplog.text


@pytest.mark.parametrize("error", [NotSeen(), NoRoomToRetain("no room")], ids=repr)
def test_no_capture_is_neither_dropped_nor_failed(parts: Parts, error: Exception) -> None:
    with pytest.raises(type(error)):
        parts.counted(error)
    assert (parts.counters.dropped, parts.counters.failed) == (0, 0)


def test_a_closed_channel_is_a_failure_and_tells_the_session(parts: Parts) -> None:
    parts.counted(ChannelClosed())
    assert (parts.counters.failed, parts.times_lost) == (1, 1)


@pytest.mark.parametrize(("announced", "failed"), [(False, 1), (True, 0)])
def test_ctrl_c_propagates_and_fails_what_was_not_announced(
    parts: Parts, announced: bool, failed: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        parts.counted(KeyboardInterrupt(), announced=announced)
    assert parts.counters.failed == failed


def test_an_error_of_a_signal_handler_is_the_users(parts: Parts) -> None:
    def handler(*_: Any) -> None:
        raise RuntimeError("a DataLoader worker died")

    before = signal.signal(signal.SIGUSR1, handler)

    def interrupted() -> None:
        with parts.errors.counted(STEP, lambda: False):
            signal.raise_signal(signal.SIGUSR1)

    try:
        with pytest.raises(RuntimeError, match="a DataLoader worker died"):
            interrupted()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert parts.counters.failed == 1


def test_the_frames_of_an_error_are_let_go_of(parts: Parts) -> None:
    error = ValueError("would keep the ring's memory alive")
    parts.counted(error)
    assert error.__traceback__ is None


def test_a_step_that_cannot_be_retained_is_said_and_counted_apart(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        parts.uncounted(RingFull("no room"))
        parts.uncounted(RingFull("no room"))
        assert "step 7 could not be kept for keep_last: no room" in caplog.text
        assert len(caplog.records) == 1
        parts.uncounted(ValueError("an empty batch"))
        parts.uncounted(ChannelClosed())
    assert (parts.counters.dropped, parts.counters.failed, parts.times_lost) == (0, 0, 1)
    assert parts.counters.not_retained == 3
    assert "step 7 could not be kept: ValueError: an empty batch" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        parts.uncounted(KeyboardInterrupt())


def test_the_time_is_counted_whatever_happens(parts: Parts) -> None:
    parts.counted(RingFull("no room"))
    after_one = parts.counters.hook_seconds
    parts.uncounted(RingFull("no room"))
    assert 0 < after_one < parts.counters.hook_seconds
