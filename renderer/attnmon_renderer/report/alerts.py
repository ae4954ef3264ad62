"""The alerts of a report: what was lost, what failed, and what is not a number."""

from collections.abc import Iterator
from itertools import takewhile

from attnmon_renderer.report.capture_facts import LARGE_LOGIT, CaptureFacts
from attnmon_renderer.report.gather import ReportData
from attnmon_renderer.terminal import counted, were

MOST_ALERTS = 20
"""More are only counted."""


def find_alerts(data: ReportData) -> list[str]:
    """Returns one line per alert, the most serious first; empty if all is well."""
    found = [
        *_run_alerts(data),
        *_number_alerts(data.facts),
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


def _number_alerts(captures: list[CaptureFacts]) -> Iterator[str]:
    broken = [capture.step for capture in captures if capture.is_broken]
    if broken:
        yield (
            f"Attention is NaN or infinite in {counted(len(broken), 'capture')}, first at step "
            f"{broken[0]:,}."
        )
    step = _first_step_without_loss(captures)
    if step is not None:
        yield f"From step {step:,} on there is no loss: it was NaN or infinite, or not given."
    large = [capture.step for capture in captures if capture.has_large_logit]
    if large:
        yield (
            f"Logits exceed {LARGE_LOGIT:,.0f} in {counted(len(large), 'capture')}, first at step "
            f"{large[0]:,}."
        )


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
