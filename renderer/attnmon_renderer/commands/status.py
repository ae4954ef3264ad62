"""Say what a run is doing now, from the files it writes.

The exit code is 0 when all is well, 1 when the training process or the renderer was lost, a
capture failed or none was made, 2 when there is no run in the directory.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.run_reader import NoRun, Run, read_run
from attnmon_renderer.terminal import ago, counted, harmless, table

SHOWN_ERRORS = 5
SHOWN_TEXTS = {"errors": "error", "warnings": "warning", "not_seen": "not seen"}
"""The lists of the summary that are shown, each with the word before a line of it."""
COUNTS = ("captured", "rendered", "dropped", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="the monitor's save_dir")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    try:
        recorded = read_run(regular_files.resolved(arguments.directory))
    except NoRun as error:
        print(f"attnmon status: {harmless(error)}", file=sys.stderr)
        return 2
    troubles = find_troubles(recorded)
    if arguments.json:
        print(json.dumps(_as_json(recorded, troubles), indent=2))
    else:
        print(table({key: harmless(value) for key, value in _summary_rows(recorded).items()}))
        for name, kind in SHOWN_TEXTS.items():
            for text in _texts(recorded, name):
                print(f"  {kind:8}  {harmless(text)}")
        for trouble in troubles:
            print(f"! {harmless(trouble)}")
    return 1 if troubles else 0


def find_troubles(recorded: Run) -> list[str]:
    """Returns a sentence for each thing that is wrong; empty if all is well."""
    troubles = [*recorded.damages]
    if recorded.state == "trainer lost":
        troubles.append("the training process ended without closing the monitor")
    if off := recorded.summary.get("off"):
        troubles.append(f"the monitor is off: {harmless(off)}")
    alive = recorded.processes().values()
    if not recorded.has_ended and not any(each is not False for each in alive):
        troubles.append(
            f"the state is {recorded.state!r}, but none of the renderer's processes is alive"
        )
    if failed := _count(recorded, "failed"):
        troubles.append(f"{counted(failed, 'capture')} failed")
    steps = _count(recorded, "steps")
    if (
        recorded.has_ended
        and not _count(recorded, "captured")
        and steps > _count(recorded, "interval") > 0
    ):
        logged = f"{counted(steps, 'step')} were logged"
        troubles.append(f"{logged} and none was captured; the warnings say why")
    return troubles


def _summary_rows(recorded: Run) -> dict[str, str]:
    """Returns names and values of the lines to print."""
    summary, now = recorded.summary, time.time()
    rows = {"run": str(recorded.folder), "state": recorded.state}
    if "written" in summary:
        rows["written"] = f"{ago(now - summary['written'])} ago"
    rows["accounts"] = ", ".join(f"{_count(recorded, name)} {name}" for name in COUNTS)
    if "disk" in summary:
        rows["disk"] = _describe_disk(summary["disk"])
    rows["training"] = _describe_training(summary)
    rows["last capture"] = _describe_last_capture(recorded)
    rows["freshness"] = _describe_freshness(summary, now)
    if recorded.dumps:
        rows["kept and drawn"] = "; ".join(map(_describe_dump, recorded.dumps))
    rows["processes"] = _describe_processes(recorded)
    if below := recorded.runs_below():
        rows["runs below"] = ", ".join(map(str, below))
    return rows


def _describe_training(summary: dict[str, Any]) -> str:
    steps = counted(summary.get("steps", 0), "step")
    text = f"process {summary.get('trainer_pid')}, {steps} logged"
    if "hook_seconds" in summary:
        text += f", {summary['hook_seconds']:.3f} s in attnmon's calls"
    if summary.get("competed_seconds"):
        text += f", {summary['competed_seconds']:.3f} s taken by drawing"
    return text


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


def _describe_freshness(summary: dict[str, Any], now: float) -> str:
    """Returns the age of the newest picture, how long drawing took, and what slows it down."""
    newest, lag = summary.get("newest_picture"), summary.get("lag") or 0.0
    text = "no picture yet" if newest is None else f"newest picture {ago(now - newest)} old"
    text += f", drawn {lag:.1f} s after its step" if lag else ""
    if summary.get("starved"):
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


def _count(recorded: Run, name: str) -> int:
    """Returns a number of the summary; 0 if it is missing."""
    count: int = recorded.summary.get(name, 0)
    return count


def _texts(recorded: Run, name: str) -> list[Any]:
    """Return the latest texts of a list in the summary."""
    return list(recorded.summary.get(name, [])[-SHOWN_ERRORS:])


def _as_json(recorded: Run, troubles: list[str]) -> dict[str, Any]:
    return {
        **recorded.summary,
        "directory": str(recorded.folder),
        "last_capture": None if recorded.last is None else recorded.last["metadata"],
        "alive": {str(pid): alive for pid, alive in recorded.processes().items()},
        "runs_below": [str(folder) for folder in recorded.runs_below()],
        "trouble": troubles,
    }
