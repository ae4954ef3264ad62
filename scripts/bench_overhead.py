"""Measure what the monitor costs a training: against none, a thread pool, and drawing in the loop.

    python scripts/bench_overhead.py [--quick] [--json FILE]

All arms run in one process on one model, a block of steps each, in turns. Where captures are rare,
a block holds one, so that more of them are seen than in as many seconds of a real run; and it goes
on until all that was captured is drawn. Its time beyond that of as many steps without a monitor is
what a capture costs, drawing included; a ratio is that cost over the time of the steps from one
capture to the next, as configured. Ratios are geometric means over the blocks, with a bootstrap
interval of 95 %.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchlib.overhead_blocks import Pace
from benchlib.overhead_report import HEADING, line, without_pause_line
from benchlib.overhead_rows import measure
from benchlib.plain_drawing import CONFIGURATIONS
from benchlib.without_pause import drawing_without_pause
from benchlib.workloads import WORKLOADS, Training

CORES = os.cpu_count() or 1
THREADS = {"spare_core": max(1, CORES - 1), "saturated": CORES}
QUICK_SECONDS = 34.0
"""After this time a quick run, which must end within 50 seconds, skips the rows of the saturated
regime."""

QUICK_WARM_UP = ("none", "attnmon", "attnmon")
QUICK_TURNS = ("none", "attnmon", "thread_pool", "in_loop", "attnmon", "none")


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    started = time.monotonic()
    for workload in options.workload:
        for regime in options.regime:
            torch.set_num_threads(THREADS[regime])
            training = Training(WORKLOADS[workload])
            for configuration in CONFIGURATIONS:
                if configuration.name in skipped(options, regime):
                    continue
                late = options.quick and time.monotonic() - started > QUICK_SECONDS
                if late and regime == "saturated":
                    print(f"{configuration.name} {workload} {regime}: no time left for it")
                    continue
                row = measure(training, configuration, options.pace[workload])
                yield {**row, "workload": workload, "regime": regime}


def skipped(options: argparse.Namespace, regime: str) -> set[str]:
    """Returns what to leave out: of the saturated rows a quick run has only the largest."""
    names = {configuration.name for configuration in CONFIGURATIONS}
    if options.only:
        return names - set(options.only)
    return names - {"everything_every_50"} if options.quick and regime == "saturated" else set()


def without_pause(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for regime in options.regime[:1] if options.quick else options.regime:
        if options.only:
            return
        torch.set_num_threads(THREADS[regime])
        training = Training(WORKLOADS["small"])
        seconds = 0.5 if options.quick else 15.0
        yield {"workload": "small", "regime": regime} | drawing_without_pause(training, seconds)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a rough look, within 50 seconds")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    parser.add_argument("--rounds", type=int, help="of blocks; two of ours in each")
    names = [configuration.name for configuration in CONFIGURATIONS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="CONFIGURATION")
    parser.add_argument("--workload", nargs="+", choices=list(WORKLOADS))
    parser.add_argument("--regime", nargs="+", choices=list(THREADS), default=list(THREADS))
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 6)
    options.workload = options.workload or (["small"] if options.quick else ["small", "large"])
    options.pace = {
        "tiny": Pace(rounds, 5, 2.0),
        "small": Pace(rounds, 30, 60.0),
        "large": Pace(max(1, rounds // 2), 10, 60.0),
    }
    if options.quick:
        for name, patience in (("tiny", 0.2), ("small", 2.0)):
            options.pace[name] = Pace(rounds, 4, patience, QUICK_TURNS, QUICK_WARM_UP, longest=0)
    return options


def main() -> None:
    """Measure all rows and print them; each is written at once, since all take long."""
    options = parsed()
    machine = f"{platform.platform()}, {CORES} cores, torch {torch.__version__}"
    found: dict[str, Any] = {"machine": machine, "rows": [], "without_pause": []}
    print(HEADING)
    for row in measured(options):
        found["rows"].append(row)
        print(line(row), flush=True)
        write(found, options.json)
    for row in without_pause(options):
        found["without_pause"].append(row)
        print(without_pause_line(row), flush=True)
        write(found, options.json)


def write(found: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
