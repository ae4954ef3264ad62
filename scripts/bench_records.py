"""Measure what a run's records cost, one and when there are many of them already.

    python scripts/bench_records.py [--quick] [--captures N …] [--json FILE]

First, what one capture of six small layers costs in the renderer's processes: its statistics, and
fifteen pictures; and how long TensorBoard's own reader takes for a hundred of these. Then, for 10
to 100,000 captures on disk (a line each in `history.jsonl`, a folder each): what the recorder takes
to start and to write one capture more, alone, with a timeline and with a disk budget; and what
`attnmon status` and `attnmon report` take, as commands. Processor time; memory is the most that a
process had. Every hundredth folder has a picture.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchlib import small_capture
from benchlib.one_thread import run_on_one_thread
from benchlib.renderer_cost import renderer_cost

from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.process_messages import RunStatus, WriteResults
from attnmon_renderer.recorder import Recorder
from attnmon_renderer.results import Results
from attnmon_renderer.sinks.statistics_json import document, to_json
from attnmon_renderer.worker import process_capture

QUICK_SIZES = (10, 1_000, 10_000)
SIZES = (*QUICK_SIZES, 100_000)
TIMES, WARM_UP = 20, 3
PICTURE_EVERY = 100
SETTINGS: dict[str, dict[str, Any]] = {
    "records": {},
    "timeline": {"pictures": ("timeline",)},
    "disk budget": {"disk_budget": 10**12},
}


def results_of(folder: Path, **options: Any) -> Results:
    """Return the results of a capture, as a worker hands them to the recorder."""
    setup = small_capture.setup(str(folder), **options)
    drawn, results = process_capture(small_capture.capture(1), setup, small_capture.ring())
    assert not drawn.error, drawn.error
    assert results is not None
    return results


def make_run(folder: Path, captures: int) -> None:
    """Write a directory as a run of so many captures leaves it, without statistics.json."""
    results = results_of(folder)
    with (folder / "history.jsonl").open("w") as history:
        for step in range(1, captures + 1):
            results = replace(results, step=step, timestamp=1.7e9 + step)
            history.write(to_json(document(results)) + "\n")
            (folder / f"step_{step}").mkdir()
            if step % PICTURE_EVERY == 0:
                picture = folder / f"step_{step}" / "encoder_layer0_self_attn.png"
                picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))


def recorder_cost(folder: Path, captures: int, options: dict[str, Any]) -> dict[str, float]:
    """Measure a recorder that starts in this directory and writes some captures more."""
    budget = options.get("disk_budget")
    drawn = {name: value for name, value in options.items() if name != "disk_budget"}
    setup = replace(small_capture.setup(str(folder), **drawn), disk_budget=budget)
    results = results_of(folder)
    memory = resident_mebibytes()
    start = time.process_time()
    recorder = Recorder(setup)
    started = time.process_time() - start
    found = []
    for number in range(TIMES + WARM_UP):
        step = captures + 1 + number
        accounts = Accounts(captured=step)
        status = RunStatus(accounts, step, 0, "running", (os.getpid(),), ())
        task = WriteResults(status, sequence=number)
        one = replace(results, step=step, folder=f"step_{step}", timestamp=1.7e9 + step)
        start = time.process_time()
        error = recorder.write(task, one)
        found.append(time.process_time() - start)
        assert not error, error
    memory = resident_mebibytes() - memory
    return {
        "start_ms": 1e3 * started,
        "capture_ms": 1e3 * median(found[WARM_UP:]),
        "worst_ms": 1e3 * max(found[WARM_UP:]),
        "memory_mb": memory,
    }


def resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def command_cost(*arguments: str) -> dict[str, float]:
    """Run a command of attnmon's; return its processor seconds and its memory."""
    code = (
        "import re, sys, time; from attnmon_renderer.commands import main; code = main(); "
        "sys.stdout = sys.stderr; status = open('/proc/self/status').read(); "
        # not ru_maxrss, which begins with the memory of the process that forked this one
        "most = int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]); "
        "print('usage', time.process_time(), most / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    seconds, memory = done.stderr.rpartition("usage")[2].split()
    return {"seconds": float(seconds), "memory_mb": float(memory)}


def measured_apart(what: str, folder: Path, captures: int) -> dict[str, float]:
    """Measure a recorder in a process of its own, so that its memory is its own."""
    arguments = [sys.executable, __file__, "--recorder", what, str(folder), str(captures)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(captures: int, below: Path) -> dict[str, Any]:
    folder = below / str(captures)
    folder.mkdir()
    make_run(folder, captures)
    row: dict[str, Any] = {"captures": captures}
    for what in SETTINGS:
        row[what] = measured_apart(what, folder, captures)
    row["status"] = command_cost("status", str(folder))
    row["report"] = command_cost("report", str(folder), "-o", str(below / "report.html"))
    return row


COLUMNS = (
    "captures │ records: start, capture, memory │ timeline: the same      "
    "│ disk budget: the same     │ status  report"
)


def line(row: dict[str, Any]) -> str:
    recorders = (
        "{start_ms:8.1f} {capture_ms:6.2f} ms {memory_mb:5.1f} MB".format(**row[what])
        for what in SETTINGS
    )
    commands = "{:5.2f} s {:5.2f} s {:5.0f} MB".format(
        row["status"]["seconds"], row["report"]["seconds"], row["report"]["memory_mb"]
    )
    return f"{row['captures']:8,} │ {' │ '.join(recorders)} │ {commands}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="up to 10,000 captures, fewer times")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    parser.add_argument("--captures", type=int, nargs="+", help="these numbers of captures")
    parser.add_argument("--recorder", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    run_on_one_thread()
    if options.recorder:
        what, folder, captures = options.recorder
        print(json.dumps(recorder_cost(Path(folder), int(captures), SETTINGS[what])))
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="attnmon-records-") as below:
        renderer = renderer_cost(Path(below), 10 if options.quick else 60)
        for name, figure in renderer.items():
            print(f"{name:24} " + ("not installed" if figure is None else f"{figure:10,.2f}"))
        print(COLUMNS)
        for captures in options.captures or (QUICK_SIZES if options.quick else SIZES):
            rows.append(measure(captures, Path(below)))
            print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"renderer": renderer, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
