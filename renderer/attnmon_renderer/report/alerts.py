"""The alerts of a report: what was lost, what failed, and what is not a number."""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from attnmon_renderer.report.gather import ReportData
from attnmon_renderer.report.history_rows import head_values, layer_rows

LARGE_LOGIT = 1000.0
"""Dehghani et al. 2023 (arXiv 2302.05442) saw training diverge with logits beyond it."""
MOST_ALERTS = 20
"""More are only counted."""


def find_alerts(data: ReportData) -> list[str]:
    """Returns one line per alert, the most serious first; empty if all is well."""
    found = [
        *_run_alerts(data),
        *_number_alerts(data.history),
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
        count, step = dump.get("count"), dump.get("step")
        yield f"{count} steps to step {step} were kept and drawn: {dump.get('reason')}."
    if not run.has_ended:
        yield f"The run had not ended when this report was made: its state is {run.state!r}."
    if summary.get("failed"):
        yield f"{summary['failed']} of {summary.get('captured')} captures failed."
    if summary.get("dropped"):
        yield f"{summary['dropped']} captures were dropped: the renderer was behind."
    if summary.get("stretched"):
        yield (
            "The budget made captures rarer: one every "
            f"{summary.get('interval')} steps in the end (max_overhead)."
        )


def _number_alerts(history: list[dict[str, Any]]) -> Iterator[str]:
    broken = [line for line in history if any(row.get("non_finite") for row in layer_rows(line))]
    if broken:
        yield (
            f"Attention is NaN or infinite in {len(broken)} captures, first at step "
            f"{broken[0]['metadata']['step']:,}."
        )
    step = _first_step_without_loss(history)
    if step is not None:
        yield f"From step {step:,} on there is no loss: it was NaN or infinite, or not given."
    large = [line for line in history if _max_logit(line) > LARGE_LOGIT]
    if large:
        yield (
            f"Logits exceed {LARGE_LOGIT:,.0f} in {len(large)} captures, first at step "
            f"{large[0]['metadata']['step']:,}."
        )


def _first_step_without_loss(history: list[dict[str, Any]]) -> int | None:
    """Returns the step from which on no capture has a loss; None unless one had a loss before."""
    newest_first = (line["metadata"] for line in reversed(history))
    without_loss = list(takewhile(lambda metadata: metadata.get("loss") is None, newest_first))
    some = 0 < len(without_loss) < len(history)
    return without_loss[-1]["step"] if some else None


def _failure_alerts(data: ReportData) -> Iterator[str]:
    latest = [str(error) for error in data.run.summary.get("errors", [])]
    yield from latest
    for line in data.history:
        if line.get("error") and not any(line["error"] in error for error in latest):
            yield f"Step {line['metadata']['step']:,}: {line['error']}"


def _max_logit(line: dict[str, Any]) -> float:
    """Returns the largest logit of any layer and head; 0 if none is known."""
    values = (value for row in layer_rows(line) for value in head_values(row, "max_logit"))
    return max(values, default=0.0)
