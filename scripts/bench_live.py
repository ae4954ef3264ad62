"""Measure how fresh pictures are while a training runs, and what that takes from it.

    python scripts/bench_live.py [--seconds 180] [--rounds 3] [--quick] [--json FILE]

Everything is drawn every 50 steps of about 25 ms: by attnmon as users have it, by a thread pool,
and by `add_figure` in the loop; with torch on every core, and with one to spare. Each run is a
process of its own that trains from the start; the designs take turns in random order. The age of
the newest picture is counted from the step that it shows. What is lost is how much longer a step
takes than in the run without a monitor of the same round: imports and first capture included, as
the geometric mean over the rounds, with a bootstrap interval of 95 %.
"""

import argparse
import json
import os
import platform
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchlib.live_run import DESIGNS, Order, carry_out, fitting_batch, in_own_process
from benchlib.ratios import bootstrap, geometric_mean
from benchlib.workloads import SMALL, TINY

CORES = os.cpu_count() or 1
THREADS = {"saturated": CORES, "spare_core": max(1, CORES - 1)}
HEADING = (
    f"{'regime':11} {'design':12} {'step':>8} {'lost (95 %)':>23} {'first':>7} "
    f"{'worst age':>9} {'drawn':>11}"
)


def runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the figures of each run, by regime and round."""
    workload = TINY if options.quick else SMALL
    for regime in options.regime:
        batch = in_own_process(fitting_batch, workload.name, THREADS[regime])
        for turn in range(options.rounds):
            designs = list(DESIGNS)
            random.shuffle(designs)
            for design in designs:
                order = Order(design, workload.name, batch, THREADS[regime], options.seconds)
                found = in_own_process(carry_out, order)
                print(f"  {regime}, round {turn + 1}: {design}", flush=True)
                yield {"regime": regime, "round": turn, "design": design, **found}


def summarized(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each regime and design."""
    keys = dict.fromkeys((run["regime"], run["design"]) for run in found)
    return [row_of(regime, design, found) for regime, design in sorted(keys)]


def row_of(regime: str, design: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    own = [run for run in found if (run["regime"], run["design"]) == (regime, design)]
    alone = {
        run["round"]: run["step_ms"]
        for run in found
        if (run["regime"], run["design"]) == (regime, "none")
    }
    ratios = [run["step_ms"] / alone[run["round"]] for run in own]
    low, high = bootstrap(ratios)
    return {
        "regime": regime,
        "design": design,
        "step_ms": float(np.median([run["step_ms"] for run in own])),
        **{
            name: value - 1
            for name, value in (("lost", geometric_mean(ratios)), ("low", low), ("high", high))
        },
        "first_picture": worst(run["first_picture"] for run in own),
        "worst_age": worst(run["worst_age"] for run in own),
        "captures": sum(run["captures"] for run in own),
        "drawn": sum(run["drawn"] for run in own),
    }


def worst(values: Iterator[float | None]) -> float | None:
    """Return the largest; None if there is none in one of the runs."""
    given = list(values)
    return None if None in given else max(value for value in given if value is not None)


def line(row: dict[str, Any]) -> str:
    lost = f"{row['lost']:+.2%} ({row['low']:+.2%} … {row['high']:+.2%})"
    first, age = (
        "never" if row[name] is None else f"{row[name]:.1f} s"
        for name in ("first_picture", "worst_age")
    )
    if row["design"] == "none":
        lost = first = age = "–"
    counts = f"{row['drawn']} of {row['captures']}"
    return (
        f"{row['regime']:11} {row['design']:12} {row['step_ms']:5.1f} ms {lost:>23} {first:>7} "
        f"{age:>9} {counts:>11}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=180.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--regime", nargs="+", choices=THREADS, default=list(THREADS))
    parser.add_argument("--quick", action="store_true", help="only try whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds, options.regime = 0.5, 1, ["spare_core"]
    found = list(runs(options))
    rows = summarized(found)
    print(HEADING, *map(line, rows), sep="\n")
    if options.json:
        machine = f"{platform.platform()}, {CORES} cores, torch {torch.__version__}"
        content = {"machine": machine, "seconds": options.seconds, "rows": rows, "runs": found}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
