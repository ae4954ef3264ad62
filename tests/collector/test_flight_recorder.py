"""The flight recorder between a session and a collector that only keep a log."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.collector.flight_recorder import MISSES_BEFORE_WARNING, FlightRecorder
from attnmon.config.option_table import Settings
from attnmon.config.settings import checked_settings
from attnmon.serialize.step_info import StepInfo

STEP = StepInfo(1, by_epoch=False, epoch=None, loss=None, lr=None, retained=True)
MODEL = nn.Linear(1, 1)


class Neighbours:
    """The session, the collector and its watch in one."""

    def __init__(self) -> None:
        self.guard, self.counters = ErrorGuard(), Counters()
        self.log: list[Any] = []
        self.watch = self
        self.sees, self.can_be_armed, self.armed = True, True, False

    def retain(self, step_info: StepInfo, collect: Any) -> bool:
        collect()
        return self.sees

    def dump(self, reason: str) -> None:
        self.log.append(reason)

    def collect(self, model: Any, enc: Any, dec: Any, *, retained: bool) -> None:
        self.log.append(("collect", retained))

    def arm(self, model: Any, *, retained: bool) -> None:
        self.log.append(("arm", retained))
        self.armed = self.can_be_armed

    def disarm(self) -> None:
        self.log.append("disarm")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(checked_settings(options={}, save_dir=tmp_path), keep_last=5)


def made(settings: Settings) -> tuple[FlightRecorder, Neighbours]:
    neighbours: Any = Neighbours()
    return FlightRecorder(settings, neighbours, neighbours), neighbours


def test_a_step_is_collected_as_one_to_be_retained(settings: Settings) -> None:
    recorder, neighbours = made(settings)
    recorder.retain(STEP, MODEL, 1, None)
    recorder.arm(MODEL)
    assert neighbours.log == [("collect", True), ("arm", True)]


def test_first_steps_that_show_nothing_are_warned_of_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, neighbours = made(settings)
    neighbours.sees = False
    for _ in range(2 * MISSES_BEFORE_WARNING):
        recorder.retain(STEP, MODEL, 1, None)
    [record] = caplog.records
    assert "nothing was seen of the first steps" in record.getMessage()


def test_later_steps_may_show_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    recorder, neighbours = made(settings)
    recorder.retain(STEP, MODEL, 1, None)
    neighbours.sees = False
    for _ in range(2 * MISSES_BEFORE_WARNING):
        recorder.retain(STEP, MODEL, 1, None)
    assert not caplog.records


def test_a_model_that_cannot_be_watched_is_asked_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, neighbours = made(settings)
    neighbours.can_be_armed = False
    for _ in range(3):
        recorder.arm(MODEL)
    assert neighbours.log == [("arm", True), "disarm", "disarm"]
    assert "keep_last is off" in caplog.text


def test_a_block_of_the_users_takes_the_place_of_one_forward(settings: Settings) -> None:
    recorder, neighbours = made(settings)
    recorder.uses_blocks = True
    recorder.arm(MODEL)
    recorder.arm(MODEL)
    assert neighbours.log == ["disarm", ("arm", True)]


def test_the_time_of_steps_that_are_not_due_is_counted_apart(settings: Settings) -> None:
    recorder, neighbours = made(settings)
    for due, seconds in ((True, 1.0), (False, 0.25), (True, 2.0), (False, 0.5)):
        neighbours.counters.hook_seconds += seconds
        recorder.account_time(due=due)
    assert neighbours.counters.retained_seconds == 0.75


def test_a_dump_without_a_window_says_what_to_set(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, neighbours = made(settings)
    recorder.dump("a spike")
    off, without = made(replace(settings, keep_last=0))
    off.dump("a spike")
    assert (neighbours.log, without.log) == (["a spike"], [])
    assert "keep_last=20" in caplog.text
