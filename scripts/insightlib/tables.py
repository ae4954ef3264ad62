"""Puts what was judged into tables: what was found and missed, and the false alarms."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from insightlib.judging import OURS, Judged

WAYS = (
    OURS,
    "loss 6 σ / 128",
    "union of three loss rules",
    "gradient norm 6 σ / 128",
    "largest logit > 100",
    "logit_growth",
    "attention_collapse",
    "dead_attention",
    "logit_high",
    "nonfinite",
    "loss_spike",
)


def figures(runs: Sequence[Judged], way: str) -> dict[str, Any]:
    """Return how one way of watching did on these trainings."""
    sick = [run for run in runs if run.kind == "sick"]
    healthy = [run for run in runs if run.kind == "healthy"]
    found = [run for run in sick if run.alarms[way]]
    leads = [(run.twin_onset or 0) - run.alarms[way][0] for run in found]
    seen = [run.band_onset - run.alarms[way][0] for run in found if run.band_onset is not None]
    captures = sum(run.captures for run in healthy)
    false = sum(run.counts[way] for run in healthy)
    return {
        "found": len(found),
        "of": len(sick),
        "before": sum(lead > 0 for lead in leads),
        "lead": median(leads) if leads else None,
        "visible lead": median(seen) if seen else None,
        "visible": len(seen),
        "healthy alarmed": sum(bool(run.alarms[way]) for run in healthy),
        "healthy": len(healthy),
        "false": false,
        "false in 1,000": 1000 * false / captures if captures else None,
    }


def table(runs: Sequence[Judged]) -> str:
    """Return the comparison of all ways as Markdown."""
    heads = (
        "watched", "found", "before the twin's onset", "median lead", "lead before one's own loss "
        "shows it (n)", "healthy runs alarmed", "false alarms in 1,000 captures",
    )  # fmt: skip
    rows = [heads, ["---"] * len(heads)]
    for way in WAYS:
        f = figures(runs, way)
        rows.append((
            way, f"{f['found']} of {f['of']}", f["before"], _number(f["lead"]),
            f"{_number(f['visible lead'])} ({f['visible']})",
            f"{f['healthy alarmed']} of {f['healthy']}", _number(f["false in 1,000"]),
        ))  # fmt: skip
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def account(runs: Sequence[Judged]) -> str:
    """Return in words what the table leaves out: mask faults, misses, false alarms, and neither."""
    masks = [run for run in runs if run.kind == "mask"]
    at_once = [run for run in masks if _at_first(run)]
    healthy = [run for run in runs if run.kind == "healthy"]
    sick = [run for run in runs if run.kind == "sick"]
    leaks = sum(_leaks(run) for run in runs if run.configuration.fault != "mask")
    errors = sum(a.severity == "error" for run in healthy for a in run.alerts if a.is_open)
    lines = [
        f"Healthy: {sum(run.captures for run in healthy):,} captures of {len(healthy)} runs.",
        f"Mask faults at the first capture: {len(at_once)} of {len(masks)}; false ones: {leaks}.",
        f"Errors in healthy runs: {errors}.",
        f"Messages a sick run: {max((run.messages for run in sick), default=0)} at most, "
        f"{median([run.messages for run in sick]) if sick else 0:g} in the median.",
        f"Missed: {_names(run for run in sick if not run.alarms[OURS]) or 'none'}.",
        f"Missed masks: {_names(run for run in masks if not _at_first(run)) or 'none'}.",
        f"Healthy and alarmed: {_names(run for run in healthy if run.alarms[OURS]) or 'none'}.",
        "Left out as neither (a fault without harm, or harm without one): "
        f"{_names(run for run in runs if run.kind == 'neither') or 'none'}.",
    ]
    return "\n".join(f"* {line}" for line in lines)


def _at_first(run: Judged) -> bool:
    rules = ("future_leak", "padding_leak")
    return any(alert.rule in rules and alert.step == 0 for alert in run.alerts)


def _leaks(run: Judged) -> int:
    return sum(a.rule in ("future_leak", "padding_leak") and a.is_open for a in run.alerts)


def _names(runs: Iterable[Judged]) -> str:
    found: dict[str, int] = {}
    for run in runs:
        found[run.configuration.name] = found.get(run.configuration.name, 0) + 1
    return ", ".join(f"{name} × {count}" for name, count in found.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
