"""Say what a run is doing now, or many, from the files they write.

The exit code is 0 when all is well, 1 when the training process or the renderer was lost, a
capture failed or none was made, or an alert of an error is open (with --strict also a warning), 2
when there is no run in the directory.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from attnmon.link.records.alert import Severity
from attnmon_renderer.commands.bucket_places import place, reads_buckets
from attnmon_renderer.insight.alert_log import read_alerts
from attnmon_renderer.mirror.remote_folders import is_account
from attnmon_renderer.overview.run_lines import overview_lines
from attnmon_renderer.overview.troubles import alert_line, find_troubles, open_alerts
from attnmon_renderer.overview.watching import watch
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.copies import shown_place
from attnmon_renderer.storage.run_reader import NoRun, Run, find_runs, read_run
from attnmon_renderer.terminal import ago, counted, harmless, table

SHOWN_ERRORS = 5
SHOWN_TEXTS = {"errors": "error", "warnings": "warning", "not_seen": "not seen"}
"""The lists of the summary that are shown, each with the word before a line of it."""
COUNTS = ("captured", "rendered", "dropped", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", metavar="DIR", type=place, nargs="+",
        help="a monitor's save_dir, a directory above those of many, or the URL of a mirror",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, or a list of them for many"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 for an open warning, too"
    )
    parser.add_argument(
        "--watch", action="store_true", help="show a line a run, kept up to date, until Ctrl-C"
    )


@reads_buckets("status", "directory", wanted=is_account, follow=True)
def run(arguments: argparse.Namespace) -> int:
    folders = [regular_files.resolved(folder) for folder in arguments.directory]
    least: Severity = "warn" if arguments.strict else "error"
    if arguments.watch:
        return watch(folders, sys.stdout, least=least)
    try:
        runs = [read_run(folder) for folder in _runs_in(folders)]
    except NoRun as error:
        print(f"attnmon status: {harmless(error)}", file=sys.stderr)
        return 2
    troubles = [find_troubles(recorded, least) for recorded in runs]
    if arguments.json:
        shown = [_as_json(*each) for each in zip(runs, troubles, strict=True)]
        print(json.dumps(shown[0] if len(shown) == 1 else shown, indent=2))
    elif len(runs) == 1:
        _print_run(runs[0], troubles[0])
    else:
        print("\n".join(overview_lines(runs, folders, least=least)))
    return 1 if any(troubles) else 0


def _runs_in(folders: list[Path]) -> list[Path]:
    """Return the runs that are meant: a directory that is a run is that one alone.

    Raises `NoRun` for a directory with none in it.
    """
    found: list[Path] = []
    for folder in folders:
        is_run = regular_files.exists(folder / "summary.json")
        below = [folder] if is_run else find_runs(folder)
        found += below or [folder]  # which will say why it is none
    return list(dict.fromkeys(found))


def _print_run(recorded: Run, troubles: list[str]) -> None:
    print(table({key: harmless(value) for key, value in _summary_rows(recorded).items()}))
    for name, kind in SHOWN_TEXTS.items():
        for text in _texts(recorded, name):
            print(f"  {kind:8}  {harmless(text)}")
    for alert in open_alerts(recorded.folder):
        if not any(alert_line(alert) == trouble for trouble in troubles):
            print(f"  {'alert':8}  {alert_line(alert)}")
    for trouble in troubles:
        print(f"! {harmless(trouble)}")


def _summary_rows(recorded: Run) -> dict[str, str]:
    """Returns names and values of the lines to print."""
    summary, now = recorded.summary, time.time()
    rows = {"run": harmless(shown_place(recorded.folder)), "state": recorded.state}
    if "written" in summary:
        rows["written"] = f"{ago(now - summary['written'])} ago"
    rows["accounts"] = ", ".join(f"{recorded.count(name)} {name}" for name in COUNTS)
    if "disk" in summary:
        rows["disk"] = _describe_disk(summary["disk"])
    if "mirror" in summary:
        rows["mirror"] = _describe_mirror(summary["mirror"])
    rows["training"] = _describe_training(summary)
    rows["last capture"] = _describe_last_capture(recorded)
    rows["freshness"] = _describe_freshness(summary, now, has_ended=recorded.has_ended)
    if recorded.dumps:
        rows["kept and drawn"] = "; ".join(map(_describe_dump, recorded.dumps))
    rows["processes"] = _describe_processes(recorded)
    if below := recorded.runs_below():
        rows["runs below"] = ", ".join(map(shown_place, below))
    return rows


def _describe_training(summary: dict[str, Any]) -> str:
    steps = counted(summary.get("steps", 0), "step")
    text = f"process {summary.get('trainer_pid')}, {steps} logged"
    if "hook_seconds" in summary:
        text += f", {summary['hook_seconds']:.3f} s in attnmon's calls"
    if summary.get("competed_seconds"):
        text += f", {summary['competed_seconds']:.3f} s taken by drawing"
    return text


def _describe_mirror(mirror: dict[str, Any]) -> str:
    error = f"; {mirror['last_error']}" if mirror["last_error"] else ""
    return (
        f"{mirror['url']}: {mirror['state']}, {mirror['uploaded']:,} objects uploaded, "
        f"{mirror['pending']:,} pending{error}"
    )


def _describe_disk(disk: dict[str, int]) -> str:
    used, budget = (
        f"{disk[name] / 10**6:,.1f} MB" if name in disk else "?" for name in ("used", "budget")
    )
    removed, without = disk.get("pictures_removed"), disk.get("without_pictures")
    return f"{used} of {budget}, pictures of {removed} captures removed, {without} had none"


def _describe_last_capture(recorded: Run) -> str:
    if recorded.last is None:
        return "none yet"
    metadata = recorded.last["metadata"]
    values = {key: metadata.get(key) for key in ("step", "epoch", "loss", "lr")}
    return ", ".join(
        f"{key} {_format(value)}" for key, value in values.items() if value is not None
    )


def _describe_freshness(summary: dict[str, Any], now: float, *, has_ended: bool) -> str:
    """Returns the age of the newest picture, how long drawing took, and what slows it down."""
    newest, lag = summary.get("newest_picture"), summary.get("lag") or 0.0
    none = "no picture" if has_ended else "no picture yet"
    text = none if newest is None else f"newest picture {ago(now - newest)} old"
    done = "drawn" if newest is not None else "the last capture written"
    text += f", {done} {lag:.1f} s after its step" if lag else ""
    if summary.get("starved") and not has_ended:
        text += "; training keeps every core busy, so drawing takes its time, in short bursts"
    return text


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _describe_dump(dump: dict[str, Any]) -> str:
    steps = counted(dump.get("count", 0), "step")
    return f"{steps} to step {dump.get('step')} ({dump.get('reason')})"


def _describe_processes(recorded: Run) -> str:
    states = {True: "alive", False: "gone", None: f"on {recorded.summary.get('host')}"}
    each = (f"{pid} {states[alive]}" for pid, alive in recorded.processes().items())
    return ", ".join(each) or "none"


def _texts(recorded: Run, name: str) -> list[Any]:
    """Return the latest texts of a list in the summary."""
    return list(recorded.summary.get(name, [])[-SHOWN_ERRORS:])


def _as_json(recorded: Run, troubles: list[str]) -> dict[str, Any]:
    return {
        **recorded.summary,
        "directory": shown_place(recorded.folder),
        "last_capture": None if recorded.last is None else recorded.last["metadata"],
        "alive": {str(pid): alive for pid, alive in recorded.processes().items()},
        "alerts": [alert.fields() for alert in read_alerts(recorded.folder)],
        "runs_below": [shown_place(folder) for folder in recorded.runs_below()],
        "trouble": troubles,
    }
