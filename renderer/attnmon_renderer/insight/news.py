"""Chooses which changes of alerts are worth a message: few, however much goes wrong at once."""

from collections.abc import Iterable

from attnmon.link.records.alert import SEVERITIES, Alert, Severity

FAMILIES = {
    "nonfinite": "numbers",
    "future_leak": "masks",
    "padding_leak": "masks",
    "scale_odd": "masks",
    "loss_spike": "loss",
}
"""What a rule's alerts are about; of the others it is the logits, which grow as heads collapse."""


class News:
    """Keeps what was told of each family: it is news that it begins, gets worse, or is over."""

    def __init__(self, level: Severity) -> None:
        """`level`: the least serious alert that is told."""
        self._level: Severity = level
        self._open: dict[str, dict[str, Alert]] = {}
        self._told: dict[str, int] = {}
        """The severity that was told of each family that is not over, as a number."""

    def of(self, changed: Iterable[Alert]) -> list[Alert]:
        """Return those of these changes that are to be told."""
        return [
            alert for alert in changed if alert.is_at_least(self._level) and self._is_new(alert)
        ]

    def _is_new(self, alert: Alert) -> bool:
        family = FAMILIES.get(alert.rule, "logits")
        here = self._open.setdefault(family, {})
        if alert.is_open:
            here[alert.id] = alert
            rank = SEVERITIES.index(alert.severity)
            is_worse = rank > self._told.get(family, -1)
            self._told[family] = max(rank, self._told.get(family, -1))
            return is_worse
        here.pop(alert.id, None)
        return not here and self._told.pop(family, None) is not None
