"""The alerts of a report: what the rules have found, what was lost, and what failed."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from attnmon.link.records.alert import SEVERITIES, Alert
from attnmon_renderer.report.capture_facts import CaptureFacts
from attnmon_renderer.report.gather import ReportData
from attnmon_renderer.terminal import counted, were

MOST_ALERTS = 20
"""More are only counted."""


def find_alerts(data: ReportData) -> list[str]:
    """Returns one line per alert, the most serious first; empty if all is well."""
    found = [
        *_rule_alerts(data.alerts),
        *_run_alerts(data),
        *_loss_alerts(data.facts),
        *_failure_alerts(data),
        *data.damages,
    ]
    more = len(found) - MOST_ALERTS
    return found if more <= 0 else [*found[:MOST_ALERTS], f"and {more} more"]


def _run_alerts(data: ReportData) -> Iterator[str]:
    run, summary = data.run, data.run.summary
    if run.state == "trainer lost":
        yield "The training process ended without closing the monitor."
    for dump in run.dumps:
        count, step = dump.get("count", 0), dump.get("step")
        kept = f"{counted(count, 'step')} to step {step} {were(count)} kept and drawn"
        yield f"{kept}: {dump.get('reason')}."
    if not run.has_ended:
        yield f"The run had not ended when this report was made: its state is {run.state!r}."
    if summary.get("failed"):
        yield f"{summary['failed']} of {counted(summary.get('captured', 0), 'capture')} failed."
    if summary.get("dropped"):
        dropped = summary["dropped"]
        yield f"{counted(dropped, 'capture')} {were(dropped)} dropped: the renderer was behind."
    if summary.get("stretched"):
        yield (
            "The budget made captures rarer: one every "
            f"{summary.get('interval')} steps in the end (max_overhead)."
        )


def _rule_alerts(alerts: Sequence[Alert]) -> Iterator[str]:
    """Yield what the rules have found: what is open, then what is over; the most serious first."""
    for alert in sorted(
        alerts, key=lambda each: (not each.is_open, -SEVERITIES.index(each.severity))
    ):
        yield f"Step {alert.step:,}, {alert.severity}: {alert.text} {alert.advice}"


def _loss_alerts(captures: list[CaptureFacts]) -> Iterator[str]:
    step = _first_step_without_loss(captures)
    if step is not None:
        yield f"From step {step:,} on there is no loss: it was NaN or infinite, or not given."


def _first_step_without_loss(captures: list[CaptureFacts]) -> int | None:
    """Returns the step from which on no capture has a loss; None unless one had a loss before."""
    without_loss = list(takewhile(lambda capture: not capture.has_loss, reversed(captures)))
    some = 0 < len(without_loss) < len(captures)
    return without_loss[-1].step if some else None


def _failure_alerts(data: ReportData) -> Iterator[str]:
    latest = [str(error) for error in data.run.summary.get("errors", [])]
    yield from latest
    for capture in data.facts:
        if capture.error and not any(capture.error in error for error in latest):
            yield f"Step {capture.step:,}: {capture.error}"
