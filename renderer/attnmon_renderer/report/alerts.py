"""What whoever reads a report should know first: what was lost, failed, or is not a number."""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from attnmon_renderer.report.gather import Findings

LARGE_LOGIT = 1000.0
"""Dehghani et al. 2023 (arXiv 2302.05442) saw training diverge with logits beyond it."""
SHOWN = 20


def alerts(findings: Findings) -> list[str]:
    """One line each, the gravest first; empty when all is well."""
    found = [*_of_the_run(findings), *_of_the_numbers(findings.history), *_failures(findings)]
    more = len(found) - SHOWN
    return found if more <= 0 else [*found[:SHOWN], f"and {more} more"]


def _of_the_run(findings: Findings) -> Iterator[str]:
    run, summary = findings.run, findings.run.summary
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


def _of_the_numbers(history: list[dict[str, Any]]) -> Iterator[str]:
    broken = [line for line in history if any(row.get("non_finite") for row in rows(line))]
    if broken:
        yield (
            f"Attention is NaN or infinite in {len(broken)} captures, first at step "
            f"{broken[0]['metadata']['step']:,}."
        )
    end = _end_of_losses(history)
    if end is not None:
        yield f"From step {end:,} on there is no loss: it was NaN or infinite, or not given."
    large = [line for line in history if any(_max_logit(row) > LARGE_LOGIT for row in rows(line))]
    if large:
        yield (
            f"Logits exceed {LARGE_LOGIT:,.0f} in {len(large)} captures, first at step "
            f"{large[0]['metadata']['step']:,}."
        )


def _end_of_losses(history: list[dict[str, Any]]) -> int | None:
    """The step from which on no capture has a loss, if there was one before."""
    backwards = (line["metadata"] for line in reversed(history))
    rest = list(takewhile(lambda metadata: metadata.get("loss") is None, backwards))
    return rest[-1]["step"] if 0 < len(rest) < len(history) else None


def _failures(findings: Findings) -> Iterator[str]:
    errors = findings.run.summary.get("errors")
    latest = [str(error) for error in errors] if isinstance(errors, list) else []
    yield from latest
    for line in findings.history:
        if line.get("error") and not any(line["error"] in error for error in latest):
            yield f"Step {line['metadata']['step']:,}: {line['error']}"


def rows(line: dict[str, Any]) -> list[dict[str, Any]]:
    """All layers of a line of the history."""
    return [*line["encoder"], *line["decoder"]]


def _max_logit(row: dict[str, Any]) -> float:
    given = (row.get("heads") or {}).get("max_logit") or ()
    return max((value for value in given if value is not None), default=0.0)
