"""Keeps the captures within `max_overhead`, by making them rarer."""

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.accounting.overhead_budget import OverheadBudget
from attnmon.schedule import Schedule


class IntervalController:
    """Stretches the interval of a schedule as its budget says, and reports it.

    limit: the share of training time that captures may take, above 0 and at most 1; None is no
    limit.
    """

    def __init__(
        self, limit: float | None, schedule: Schedule, counters: Counters, guard: ErrorGuard
    ) -> None:
        self._limit = limit
        self._budget = OverheadBudget(limit)
        self._schedule = schedule
        self._counters = counters
        self._guard = guard
        counters.interval = schedule.interval

    def review(self) -> None:
        """Adapt the interval after a due capture. Warn at the first time it becomes longer."""
        counters, schedule = self._counters, self._schedule
        spent = counters.hook_seconds - counters.retained_seconds
        changed = self._budget.review(
            spent, counters.dropped, counters.captured, counters.drawing_each
        )
        counters.overhead = self._budget.overhead(spent, counters.competed_seconds)
        if not changed:
            return
        before = schedule.interval
        schedule.stretch_interval(self._budget.stretch)
        counters.interval = schedule.interval
        if counters.interval > before:
            counters.stretched += 1
            self._guard.warn_once("budget", self._warning(before))

    def _warning(self, before: int) -> str:
        counters = self._counters
        dropped = f", with {counters.dropped} dropped" if counters.dropped else ""
        no_drops = " and no drops" if counters.dropped else ""
        return (
            f"a capture every {before} steps took {counters.overhead:.2%} of training time"
            f"{dropped}; max_overhead allows {self._limit:.2%}{no_drops}, so captures are now made "
            f"every {counters.interval} steps, and more often again when there is room. "
            f"{self._remedy()}max_overhead=None keeps the interval that was asked for."
        )

    def _remedy(self) -> str:
        if not self._counters.competed_seconds:
            return ""
        return (
            "Training keeps every core busy, so drawing takes its time: leave a core free "
            "(torch.set_num_threads), draw fewer pictures, or allow a larger max_overhead. "
        )
