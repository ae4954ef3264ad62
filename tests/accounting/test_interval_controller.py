"""The interval follows the budget, and what it does is counted and said once."""

import pytest

from attnmon.accounting import overhead_budget
from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.accounting.interval_controller import IntervalController
from attnmon.accounting.overhead_budget import MAX_GROWTH, SPENT_SECONDS
from attnmon.schedule import Schedule


def controller(limit: float | None) -> tuple[IntervalController, Schedule, Counters]:
    """Of a schedule of every 5 steps, after its first capture."""
    schedule, counters = Schedule(5, ()), Counters()
    made = IntervalController(limit, schedule, counters, ErrorGuard())
    assert counters.interval == 5
    made.review()
    return made, schedule, counters


def test_what_costs_too_much_becomes_rarer_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    interval, schedule, counters = controller(0.005)
    for times in (1, 2):
        counters.hook_seconds += SPENT_SECONDS
        interval.review()
        assert schedule.interval == counters.interval == 5 * MAX_GROWTH**times
        assert counters.stretched == times
    [record] = caplog.records
    assert "a capture every 5 steps took" in record.getMessage()
    assert "max_overhead allows 0.50%, so" in record.getMessage(), "no word of drops: none were"
    assert "now made every 50 steps" in record.getMessage()


def test_what_retained_steps_took_makes_no_due_step_rarer() -> None:
    interval, schedule, counters = controller(0.005)
    counters.hook_seconds = counters.retained_seconds = SPENT_SECONDS
    interval.review()
    assert (schedule.interval, counters.stretched, counters.overhead) == (5, 0, 0)


def test_where_drawing_competes_it_is_said_what_would_help(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overhead_budget, "COMPETING_SECONDS", 0.0)
    interval, schedule, counters = controller(0.005)
    counters.captured += 1
    counters.add_competed(0.5)
    interval.review()
    assert schedule.interval == 5 * MAX_GROWTH
    [record] = caplog.records
    for words in ("keeps every core busy", "torch.set_num_threads", "fewer pictures", "larger"):
        assert words in record.getMessage()


def test_without_a_limit_the_interval_stays_and_the_overhead_is_still_reported() -> None:
    interval, schedule, counters = controller(None)
    counters.hook_seconds = SPENT_SECONDS
    interval.review()
    assert (schedule.interval, counters.stretched) == (5, 0)
    assert counters.overhead > 0
