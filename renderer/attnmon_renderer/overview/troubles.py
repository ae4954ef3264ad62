"""Judges how a run stands: a sentence for each thing that is wrong."""

from pathlib import Path

from attnmon.link.records.alert import SEVERITIES, Alert, Severity
from attnmon_renderer.insight.alert_log import read_alerts
from attnmon_renderer.storage.run_reader import Run
from attnmon_renderer.terminal import counted, harmless


def find_troubles(recorded: Run, least: Severity = "error") -> list[str]:
    """Return a sentence for each thing that is wrong; empty if all is well.

    Args:
        least: The least serious alert that counts, if it is open.
    """
    troubles = [*recorded.damages]
    troubles += [
        alert_line(alert) for alert in open_alerts(recorded.folder) if alert.is_at_least(least)
    ]
    if recorded.state == "trainer lost":
        troubles.append("the training process ended without closing the monitor")
    if off := recorded.summary.get("off"):
        troubles.append(f"the monitor is off: {harmless(off)}")
    alive = recorded.processes().values()
    if not recorded.has_ended and not any(each is not False for each in alive):
        troubles.append(
            f"the state is {recorded.state!r}, but none of the renderer's processes is alive"
        )
    if failed := recorded.count("failed"):
        troubles.append(f"{counted(failed, 'capture')} failed")
    steps = recorded.count("steps")
    if (
        recorded.has_ended
        and not recorded.count("captured")
        and steps > recorded.count("interval") > 0
    ):
        logged = f"{counted(steps, 'step')} were logged"
        troubles.append(f"{logged} and none was captured; the warnings say why")
    return troubles


def open_alerts(folder: Path) -> list[Alert]:
    """Return the alerts of a run that are open, the most serious first."""
    found = [alert for alert in read_alerts(folder) if alert.is_open]
    return sorted(found, key=lambda alert: -SEVERITIES.index(alert.severity))


def alert_line(alert: Alert) -> str:
    """Return an alert in one line."""
    return f"{alert.severity} {alert.rule} since step {alert.step:,}: {harmless(alert.text)}"
