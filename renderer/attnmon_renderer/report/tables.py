"""The words and numbers of a report, as plain text."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from attnmon_renderer.report.gather import ReportData
from attnmon_renderer.report.history_rows import head_values, known, layer_rows, mean
from attnmon_renderer.report.map_steps import ReportMaps
from attnmon_renderer.terminal import ago, counted

COUNTS = ("captured", "rendered", "dropped", "failed")
HEADING = ("layer", "module", "heads, queries, keys", "mean", "std", "min", "max", "entropy",
           "effective keys", "largest logit", "first token", "note")  # fmt: skip


def headline(data: ReportData) -> str:
    """Returns one line on the run: steps, loss, captures and state."""
    summary = data.run.summary
    parts = [_counted(summary.get("steps"), "step")]
    losses = [line["metadata"].get("loss") for line in data.history]
    values = known(losses)
    if values:
        then = ", then none" if losses[-1] is None else ""
        parts.append(f"loss {values[0]:.4g} → {values[-1]:.4g}{then}")
    parts.append(_counted(summary.get("captured"), "capture"))
    parts.append(data.run.state)
    return " · ".join(parts)


def shown_steps(data: ReportData) -> str:
    """Returns a sentence on which steps have their pictures in the report, and why not all."""
    included, total = len(data.steps), data.steps_with_pictures
    left_out = f" {data.pdfs} PDF files are not shown." if data.pdfs else ""
    if not total:
        return f"This run has no pictures that a browser shows.{left_out}"
    if included == total:
        return f"All {total} steps that have pictures.{left_out}"
    return (
        f"{included} of the {total} steps that have pictures, evenly spaced, to keep this file "
        f"small; --max-steps and --max-megabytes include more.{left_out}"
    )


def shown_maps(maps: ReportMaps) -> str:
    """Returns a sentence on the steps whose maps are in the report, and how fine they are."""
    count, which = len(maps.steps), f"All {maps.found} steps that have maps."
    if count < maps.found:
        which = f"{count} of the {maps.found} steps that have maps, evenly spaced."
    if maps.side is not None:
        which += f" They are pooled to {maps.side} cells a side at most, to keep this file small; "
        which += "--max-megabytes keeps them finer."
    return f"{which} Colours follow square roots; grey is masked."


def step_label(number: int, metadata: Mapping[str, Any]) -> str:
    """ "step 1,200 · epoch 3 · loss 0.123" """
    parts = [f"step {number:,}"]
    if metadata.get("epoch") is not None:
        parts.append(f"epoch {metadata['epoch']}")
    if metadata.get("loss") is not None:
        parts.append(f"loss {metadata['loss']:.4g}")
    return " · ".join(parts)


def statistics_table(line: dict[str, Any]) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
    """Returns heading and rows of the table of one capture's layers."""
    stacks = [*["encoder"] * len(line["encoder"]), *["decoder"] * len(line["decoder"])]
    return HEADING, (_row(stack, row) for stack, row in zip(stacks, layer_rows(line), strict=True))


def _row(stack: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{stack} {row['layer']} {row['type'].partition('_')[0]}",
        str(row.get("name", "")),
        " × ".join(map(str, row.get("shape") or ())),
        *(_format_number(row.get(name)) for name in ("mean", "std", "min", "max")),
        *(_format_number(mean(head_values(row, name))) for name in ("entropy", "effective_keys")),
        _format_number(max(head_values(row, "max_logit"), default=None)),
        _format_number(mean(head_values(row, "first_token"))),
        str(row.get("note") or "–"),
    )


def run_facts(data: ReportData) -> dict[str, str]:
    """Returns names and values of the facts about the run as a whole."""
    summary = data.run.summary
    counts = ", ".join(f"{_format_count(summary.get(name))} {name}" for name in COUNTS)
    facts = {"state": data.run.state, "accounts": counts}
    if "started" in summary:
        facts["started"] = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(summary["started"]))
        if "written" in summary:
            facts["length"] = ago(summary["written"] - summary["started"])
    if "hook_seconds" in summary:
        facts["time in attnmon's calls"] = f"{summary['hook_seconds']:.3f} s"
        if "overhead" in summary:
            share = f"{summary['overhead']:.2%}"
            facts["after the first capture"] = f"{share} of training time, kept steps apart"
    facts["interval"] = f"a capture every {_format_count(summary.get('interval'))} steps"
    for name, value in summary.get("settings", {}).items():
        facts[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    versions = summary.get("versions", {}).items()
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions)
    return facts


def _format_count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _counted(value: int | None, noun: str) -> str:
    return f"? {noun}s" if value is None else counted(value, noun)


def _format_number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
