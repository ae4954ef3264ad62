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

from attnmon_renderer.storage.run_reader import NoRun, Run, read_run
from attnmon_renderer.terminal import ago, harmless, table

SHOWN_ERRORS = 5
COUNTS = ("captured", "rendered", "dropped", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="the monitor's save_dir")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    try:
        found = read_run(arguments.directory)
    except NoRun as error:
        print(f"attnmon status: {harmless(error)}", file=sys.stderr)
        return 2
    trouble = troubles(found)
    if arguments.json:
        print(json.dumps(_as_json(found, trouble), indent=2))
    else:
        print(table({key: harmless(value) for key, value in _in_words(found).items()}))
        for said in _errors(found):
            print(f"  error  {harmless(said)}")
        for words in trouble:
            print(f"! {words}")
    return 1 if trouble else 0


def troubles(found: Run) -> list[str]:
    """What is not as it should be, in words; empty when all is well."""
    said = []
    if found.state == "trainer lost":
        said.append("the training process ended without closing the monitor")
    alive = found.processes().values()
    if not found.has_ended and not any(each is not False for each in alive):
        said.append(f"the state is {found.state!r}, but none of the renderer's processes is alive")
    if _count(found, "failed"):
        said.append(f"{_count(found, 'failed')} captures failed")
    steps = _count(found, "steps")
    if found.has_ended and not _count(found, "captured") and steps > _count(found, "interval") > 0:
        said.append(f"{steps} steps were logged and none was captured; the training's log says why")
    return said


def _in_words(found: Run) -> dict[str, str]:
    summary, now = found.summary, time.time()
    rows = {"run": str(found.folder), "state": found.state}
    if isinstance(written := summary.get("written"), int | float):
        rows["written"] = f"{ago(now - written)} ago"
    rows["accounts"] = ", ".join(f"{_count(found, name)} {name}" for name in COUNTS)
    if isinstance(disk := summary.get("disk"), dict):
        rows["disk"] = _disk(disk)
    rows["training"] = _training(summary)
    rows["last capture"] = _last(found)
    if found.dumps:
        rows["kept and drawn"] = "; ".join(map(_dump, found.dumps))
    rows["processes"] = _processes(found)
    if below := found.runs_below():
        rows["runs below"] = ", ".join(map(str, below))
    return rows


def _training(summary: dict[str, Any]) -> str:
    steps, hook = summary.get("steps"), summary.get("hook_seconds")
    words = f"process {summary.get('trainer_pid')}, {steps} steps logged"
    if isinstance(hook, int | float):
        words += f", {hook:.3f} s in attnmon's calls"
    return words


def _disk(disk: dict[str, Any]) -> str:
    used, budget = (
        f"{given / 10**6:,.1f} MB" if isinstance(given := disk.get(name), int) else "?"
        for name in ("used", "budget")
    )
    removed, without = disk.get("pictures_removed"), disk.get("without_pictures")
    return f"{used} of {budget}, pictures of {removed} captures removed, {without} had none"


def _last(found: Run) -> str:
    if found.last is None:
        return "none yet"
    metadata = found.last["metadata"]
    named = {key: metadata.get(key) for key in ("step", "epoch", "loss", "lr")}
    return ", ".join(f"{key} {_short(value)}" for key, value in named.items() if value is not None)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _dump(dump: dict[str, Any]) -> str:
    return f"{dump.get('count')} steps to step {dump.get('step')} ({dump.get('reason')})"


def _processes(found: Run) -> str:
    words = {True: "alive", False: "gone", None: f"on {found.summary.get('host')}"}
    each = (f"{pid} {words[alive]}" for pid, alive in found.processes().items())
    return ", ".join(each) or "none"


def _count(found: Run, name: str) -> int:
    count = found.summary.get(name, 0)
    return count if isinstance(count, int) else 0


def _errors(found: Run) -> list[Any]:
    errors = found.summary.get("errors")
    return errors[-SHOWN_ERRORS:] if isinstance(errors, list) else []


def _as_json(found: Run, trouble: list[str]) -> dict[str, Any]:
    return {
        **found.summary,
        "directory": str(found.folder),
        "last_capture": None if found.last is None else found.last["metadata"],
        "alive": {str(pid): alive for pid, alive in found.processes().items()},
        "runs_below": [str(folder) for folder in found.runs_below()],
        "trouble": trouble,
    }
