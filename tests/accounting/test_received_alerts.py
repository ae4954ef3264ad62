"""Alerts on their way to the user: the log, trackers of experiments, and a function."""

import logging
import sys
import types
from enum import Enum
from typing import Any

import pytest

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.accounting.received_alerts import ReceivedAlerts
from attnmon.link.records.alert import Alert, Severity

GROWTH = Alert("g-0", "logit_growth", "warn", "firing", 120, text="They grew.", advice="Stop.")
MORE = Alert("g-1", "logit_growth", "warn", "firing", 120, text="These too.")
OVER = Alert("g-0", "logit_growth", "warn", "resolved", 150, text="It is over.")
MINOR = Alert("s", "scale_odd", "info", "firing", 0, text="It is odd.")


def received(on_alert: Any = None, level: Severity = "warn") -> ReceivedAlerts:
    return ReceivedAlerts(ErrorGuard(), on_alert, level)


def test_each_change_is_delivered_once_and_the_last_state_is_kept() -> None:
    heard: list[Alert] = []
    alerts = received(heard.append)
    alerts.add([MINOR, GROWTH])
    assert (alerts.all, heard) == ((MINOR, GROWTH), [])
    assert alerts.deliver() == heard == [MINOR, GROWTH]
    alerts.add([OVER])
    alerts.deliver()
    assert alerts.deliver() == []
    assert (heard[2:], alerts.all) == ([OVER], (MINOR, OVER))


def test_the_log_has_a_line_a_rule_that_fires_at_warn(caplog: pytest.LogCaptureFixture) -> None:
    alerts = received()
    with caplog.at_level(logging.WARNING, "attnmon"):
        alerts.add([MINOR, GROWTH, MORE])
        alerts.deliver()
        alerts.add([OVER])
        alerts.deliver()
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == "attnmon: warn at step 120: They grew. Stop. (1 more of logit_growth)"


def test_a_function_that_raises_is_told_once_and_interrupts_pass(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(alert: Alert) -> None:
        raise RuntimeError("of the user's")

    alerts = received(fail)
    alerts.add([MINOR, MINOR])
    alerts.deliver()
    assert sum("of the user's" in record.getMessage() for record in caplog.records) == 1

    def interrupt(alert: Alert) -> None:
        raise KeyboardInterrupt

    alerts = received(interrupt)
    alerts.add([MINOR])
    with pytest.raises(KeyboardInterrupt):
        alerts.deliver()


class Level(Enum):
    INFO = "i"
    WARN = "w"
    ERROR = "e"


def test_a_tracker_that_is_active_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    wandb: Any = types.SimpleNamespace(run=object(), AlertLevel=Level)
    wandb.alert = lambda **given: told.append(given)
    trackio: Any = types.SimpleNamespace(AlertLevel=Level, alert=lambda **given: told.append(given))
    current = types.SimpleNamespace(get=lambda: object())
    trackio.context_vars = types.SimpleNamespace(current_run=current)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    alerts = received()
    alerts.add([MINOR, GROWTH, OVER])
    alerts.deliver()
    expected = {
        "title": "attnmon: logit_growth at step 120",
        "text": "They grew. Stop.",
        "level": Level.WARN,
    }
    assert told == [expected, expected]
    wandb.run, current.get = None, lambda: None
    alerts.add([GROWTH])
    alerts.deliver()
    assert len(told) == 2
