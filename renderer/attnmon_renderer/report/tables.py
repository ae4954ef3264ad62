"""What a report says in words and numbers, as plain text."""

import math
import time
from collections.abc import Iterator
from typing import Any

from attnmon_renderer.report.alerts import rows
from attnmon_renderer.report.gather import Findings, Step
from attnmon_renderer.terminal import ago

COUNTS = ("captured", "rendered", "dropped", "failed")
HEADING = ("layer", "module", "heads, queries, keys", "mean", "std", "min", "max", "entropy",
           "effective keys", "largest logit", "first token", "note")  # fmt: skip


def lead(findings: Findings) -> str:
    """What was trained, in one line."""
    summary = findings.run.summary
    parts = [f"{_whole(summary.get('steps'))} steps"]
    losses = [line["metadata"].get("loss") for line in findings.history]
    known = [loss for loss in losses if loss is not None]
    if known:
        then = ", then none" if losses[-1] is None else ""
        parts.append(f"loss {known[0]:.4g} → {known[-1]:.4g}{then}")
    parts.append(f"{_whole(summary.get('captured'))} captures")
    parts.append(findings.run.state)
    return " · ".join(parts)


def shown(findings: Findings) -> str:
    """Which of the pictures are in the report, and why not all."""
    included, there = len(findings.steps), findings.steps_there
    left_out = f" {findings.pdfs} PDF files are not shown." if findings.pdfs else ""
    if not there:
        return f"This run has no pictures that a browser shows.{left_out}"
    if included == there:
        return f"All {there} steps that have pictures.{left_out}"
    return (
        f"{included} of the {there} steps that have pictures, evenly spaced, to keep this file "
        f"small; --max-steps and --max-megabytes include more.{left_out}"
    )


def label(step: Step) -> str:
    """ "step 1,200 · epoch 3 · loss 0.123" """
    parts = [f"step {step.number:,}"]
    if step.metadata.get("epoch") is not None:
        parts.append(f"epoch {step.metadata['epoch']}")
    if step.metadata.get("loss") is not None:
        parts.append(f"loss {step.metadata['loss']:.4g}")
    return " · ".join(parts)


def statistics(line: dict[str, Any]) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
    """Heading and rows of a table: the layers in one capture."""
    stacks = [*["encoder"] * len(line["encoder"]), *["decoder"] * len(line["decoder"])]
    return HEADING, (_row(stack, row) for stack, row in zip(stacks, rows(line), strict=True))


def _row(stack: str, row: dict[str, Any]) -> tuple[str, ...]:
    heads = row.get("heads") or {}
    return (
        f"{stack} {row['layer']} {row['type'].partition('_')[0]}",
        str(row.get("name", "")),
        " × ".join(map(str, row["shape"])),
        *(_number(row.get(name)) for name in ("mean", "std", "min", "max")),
        *(_number(_mean(heads.get(name))) for name in ("entropy", "effective_keys")),
        _number(max(_known(heads.get("max_logit")), default=None)),
        _number(_mean(heads.get("first_token"))),
        str(row.get("note") or "–"),
    )


def of_the_run(findings: Findings) -> dict[str, str]:
    """Name and value of all that is known of the run as a whole."""
    summary = findings.run.summary
    counts = ", ".join(f"{_whole(summary.get(name))} {name}" for name in COUNTS)
    found = {"state": findings.run.state, "accounts": counts}
    if isinstance(summary.get("started"), int | float):
        found["started"] = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(summary["started"]))
        if isinstance(summary.get("written"), int | float):
            found["length"] = ago(summary["written"] - summary["started"])
    if isinstance(summary.get("hook_seconds"), int | float):
        share = summary.get("overhead")
        found["time in attnmon's calls"] = f"{summary['hook_seconds']:.3f} s"
        if isinstance(share, int | float):
            found["after the first capture"] = f"{share:.2%} of training time, kept steps apart"
    found["interval"] = f"a capture every {_whole(summary.get('interval'))} steps"
    for name, value in _pairs(summary.get("settings")):
        found[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    found["versions"] = ", ".join(f"{k} {v}" for k, v in _pairs(summary.get("versions")))
    return found


def _pairs(given: Any) -> list[tuple[Any, Any]]:
    return list(given.items()) if isinstance(given, dict) else []


def _whole(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _known(values: list[float | None] | None) -> list[float]:
    return [value for value in values or () if value is not None]


def _mean(values: list[float | None] | None) -> float | None:
    known = _known(values)
    return math.fsum(known) / len(known) if known else None
