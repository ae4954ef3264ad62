"""The alerts that the renderer has told of so far: said in the log, and handed to the user."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from attnmon.accounting.error_guard import ErrorGuard, say
from attnmon.link.records.alert import Alert, Severity

OnAlert = Callable[[Alert], Any]


class ReceivedAlerts:
    """Keeps each alert in its last state, and delivers changes when the user's code may run."""

    def __init__(self, guard: ErrorGuard, on_alert: OnAlert | None, level: Severity) -> None:
        """`level`: the least serious alert that trackers of experiments are told of."""
        self._guard = guard
        self._on_alert = on_alert
        self._level: Severity = level
        self._latest: dict[str, Alert] = {}
        self._undelivered: list[Alert] = []

    @property
    def are_waiting(self) -> bool:
        """Whether there are some to deliver."""
        return bool(self._undelivered)

    @property
    def all(self) -> tuple[Alert, ...]:
        """Every alert in its last state, in the order in which they began."""
        return tuple(self._latest.values())

    def add(self, changed: Sequence[Alert]) -> None:
        """Take in alerts that came to another state; runs no code of the user's."""
        for alert in changed:
            self._latest[alert.id] = alert
        self._undelivered += changed

    def deliver(self) -> list[Alert]:
        """Say what is new in the log, and tell trackers and the user; returns what was new.

        An error of theirs is warned about once.
        """
        if not self._undelivered:
            return []
        changed, self._undelivered = self._undelivered, []
        for line in log_lines(changed):
            say(line)
        for alert in changed:
            if alert.is_open and alert.is_at_least(self._level):
                self._tell_trackers(alert)
            if self._on_alert is not None:
                with self._guard.tolerant():
                    self._on_alert(alert)
        return changed

    def _tell_trackers(self, alert: Alert) -> None:
        for tell in (_tell_wandb, _tell_trackio):
            with self._guard.tolerant():
                tell(alert)


def log_lines(changed: Sequence[Alert]) -> list[str]:
    """Return a line for each rule that fires at "warn" or above, with the first of its alerts."""
    worth = [alert for alert in changed if alert.is_open and alert.is_at_least("warn")]
    counts = Counter(alert.rule for alert in worth)
    first = {alert.rule: alert for alert in reversed(worth)}
    more = {rule: f" ({count - 1} more of {rule})" for rule, count in counts.items() if count > 1}
    return [
        f"attnmon: {alert.severity} at step {alert.step:,}: {alert.text} {alert.advice}"
        + more.get(rule, "")
        for rule, alert in first.items()
    ]


def _tell_wandb(alert: Alert) -> None:
    """Tell Weights & Biases, where a run of it is active."""
    wandb: Any = sys.modules.get("wandb")
    if getattr(wandb, "run", None) is not None:
        level = getattr(wandb.AlertLevel, alert.severity.upper())
        wandb.alert(title=_title(alert), text=f"{alert.text} {alert.advice}", level=level)


def _tell_trackio(alert: Alert) -> None:
    """Tell trackio, where a run of it is active."""
    trackio: Any = sys.modules.get("trackio")
    variables = getattr(trackio, "context_vars", None)
    current = getattr(variables, "current_run", None)
    if current is not None and current.get() is not None and hasattr(trackio, "alert"):
        level = getattr(trackio.AlertLevel, alert.severity.upper())
        trackio.alert(title=_title(alert), text=f"{alert.text} {alert.advice}", level=level)


def _title(alert: Alert) -> str:
    return f"attnmon: {alert.rule} at step {alert.step:,}"
