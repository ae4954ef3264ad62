"""The budget: in the long run the limit is kept, and nothing is held back early."""

import logging
from pathlib import Path

import pytest
from support.models import LanguageModel, batch
from support.outputs import history, summary, tensorboard

from attnmon import LightweightAttentionMonitor
from attnmon.accounting import overhead_budget
from attnmon.accounting.overhead_budget import (
    CALM_SPANS,
    COMPETING_SECONDS,
    MAX_GROWTH,
    SPAN_SECONDS,
    SPENT_SECONDS,
    OverheadBudget,
)


class Training:
    """Steps of one second on a clock of its own; a capture takes `cost` seconds more."""

    def __init__(self, limit: float | None, cost: float, first: float = 2.0) -> None:
        self.now = self.spent = 0.0
        self.dropped = 0
        self.cost = cost
        self.budget = OverheadBudget(limit, lambda: self.now)
        self.capture(first)

    def capture(self, cost: float) -> bool:
        self.now += cost
        self.spent += cost
        return self.budget.review(self.spent, self.dropped)

    def run(self, seconds: float, every: int = 1) -> None:
        """Train on, with a capture at every so many steps, times the stretch of the moment."""
        end = self.now + seconds
        while self.now < end:
            self.now += every * self.budget.stretch
            self.capture(self.cost)


@pytest.mark.parametrize("cost", [0.001, 0.02, 0.5, 3.0])
@pytest.mark.parametrize("limit", [0.001, 0.005, 0.1])
def test_in_the_long_run_the_limit_is_kept_and_used(cost: float, limit: float) -> None:
    training = Training(limit, cost)
    training.run(20_000)
    training.budget.review(training.spent, training.dropped)
    before, spent = training.now, training.spent
    training.run(20_000)
    share = (training.spent - spent) / (training.now - before)
    assert share <= limit
    assert training.budget.stretch == 1 or share >= limit / 2, "captures were given away"


def test_without_a_limit_nothing_is_ever_held_back() -> None:
    training = Training(None, 3.0)
    training.dropped = 1
    training.run(10_000)
    assert training.budget.stretch == 1
    assert training.budget.overhead(training.spent) == pytest.approx(0.75, rel=0.01)


def test_a_short_run_is_not_held_back_whatever_it_costs() -> None:
    training = Training(0.005, 0.0, first=60.0)
    training.cost = 0.5 * SPENT_SECONDS / SPAN_SECONDS
    training.run(SPAN_SECONDS - 3)
    assert training.budget.stretch == 1
    training.run(10)
    assert training.budget.stretch == MAX_GROWTH, "but a longer one is"


def test_the_first_capture_is_a_one_off() -> None:
    training = Training(0.005, 0.001, first=1000.0)
    training.run(1000)
    assert training.budget.stretch == 1
    assert training.budget.overhead(training.spent) == pytest.approx(0.001, rel=0.01)


def test_what_costs_far_too_much_does_not_wait_for_the_end_of_the_span() -> None:
    training = Training(0.005, SPENT_SECONDS)
    training.run(1)
    assert training.budget.stretch == MAX_GROWTH


def test_one_slow_moment_is_forgotten_when_the_next_span_was_well() -> None:
    training = Training(0.005, 0.001)
    training.capture(100.0)
    assert training.budget.stretch == MAX_GROWTH
    training.run(2 * SPAN_SECONDS)
    assert training.budget.stretch == 1


@pytest.mark.parametrize(("every", "stretch"), [(1, 20), (4, 5), (30, 1)])
def test_where_drawing_competes_captures_soon_become_as_rare_as_it_can_be_paid(
    every: int, stretch: int
) -> None:
    """Each is counted once, with the step that made it, however late it is drawn."""
    now, captured = 0.0, 0
    budget = OverheadBudget(0.005, lambda: now)
    budget.review(0.0, 0, captured, 0.0)
    until_rarer = None
    while now < 600:
        now += every * budget.stretch
        captured += 1
        if budget.review(0.0, 0, captured, drawing_each=0.1) and until_rarer is None:
            until_rarer = now
    assert budget.stretch == stretch
    assert until_rarer is None or until_rarer <= 3 * COMPETING_SECONDS


def test_drawing_counts_in_the_overhead_once_it_is_done() -> None:
    now = 0.0
    budget = OverheadBudget(0.005, lambda: now)
    budget.review(0.0, 0)
    now = 10.0
    assert budget.overhead(0.25, competed=0.5) == pytest.approx(0.075)


def test_drops_halve_the_pace_until_there_has_long_been_none() -> None:
    training = Training(0.005, 0.0001)
    training.dropped = 1
    training.run(SPAN_SECONDS)
    assert training.budget.stretch == 2
    training.run((CALM_SPANS - 2) * SPAN_SECONDS)
    assert training.budget.stretch == 2
    training.run(3 * SPAN_SECONDS)
    assert training.budget.stretch == 1


def log_steps(folder: Path, steps: int, **options: float | None) -> None:
    model = LanguageModel()
    with LightweightAttentionMonitor(folder, 2, [7], **options) as monitor:  # type: ignore[arg-type]
        for step in range(steps):
            monitor.log_attention(model, batch(), step=step, epoch=7 if step == 13 else 1)


def test_the_monitor_stretches_its_interval_says_so_once_and_records_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(overhead_budget, "SPAN_SECONDS", 0.0)
    log_steps(tmp_path, 2 * MAX_GROWTH**2 + 1, max_overhead=1e-9)
    taken = [line["metadata"]["step"] for line in history(tmp_path)]
    assert taken == [0, 2, 13, 2 * MAX_GROWTH**2], "0 starts the span; 13 is an epoch's"
    accounts = summary(tmp_path)
    assert (accounts["interval"], accounts["stretched"]) == (2 * MAX_GROWTH**3, 3)
    assert 0 < accounts["overhead"] < 1
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "a capture every 2 steps took" in warning
    assert f"now made every {2 * MAX_GROWTH} steps" in warning


def test_a_run_that_stays_within_its_budget_keeps_its_interval(tmp_path: Path) -> None:
    log_steps(tmp_path, 21)
    taken = [line["metadata"]["step"] for line in history(tmp_path)]
    assert taken == sorted({*range(0, 21, 2), 13})
    accounts = summary(tmp_path)
    assert (accounts["interval"], accounts["stretched"]) == (2, 0)
    events = tensorboard(tmp_path)
    assert [event.step for event in events.Scalars("attnmon/overhead")] == taken
    assert {event.value for event in events.Scalars("attnmon/dropped")} == {0}
    assert events.Scalars("attnmon/backlog")[0].value == 0
