"""Measure how fresh pictures are while a training runs, and what that takes from it.

    python scripts/bench_live.py [--seconds 180] [--json FILE] [--docs] [--quick]
    python scripts/bench_live.py --from FILE --docs

Everything is drawn every 50 steps of about 25 ms: by attnmon as users have it, by a thread pool,
and by `add_figure` in the loop; with torch on every core, and with one to spare. Each run is a
process of its own that trains from the start, for `--seconds` with attnmon and a quarter of that
otherwise, a third with a core to spare; runs without a monitor lie before, between and after. The
age of the newest picture is counted from the step that it shows. What is lost is how much longer
steps take, with an interval of 95 %: for attnmon, the steps in which it or its renderer does
anything against quiet ones before and after, with its start, imports and first capture, told
apart; for the others, which draw all the time, windows of 15 s against those of the runs without a
monitor. All takes twelve
minutes, on a machine with nothing else to do.

`--docs` renews the table in docs/performance.md and README's plot.
"""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchlib.live_plan import turns
from benchlib.live_report import plot, renew, table
from benchlib.live_rows import rows_of
from benchlib.live_run import Order, carry_out, fitting_batch, in_own_process
from benchlib.workloads import SMALL, TINY

CORES = os.cpu_count() or 1
THREADS = {"saturated": CORES, "spare_core": max(1, CORES - 1)}
DOCUMENTS = Path(__file__).parents[1] / "docs"


def runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the figures of each run."""
    workload = (TINY if options.quick else SMALL).name
    batches = {
        regime: in_own_process(fitting_batch, workload, THREADS[regime])
        for regime in options.regime
    }
    for regime, design, seconds in turns(options.regime, options.seconds):
        print(f"  {regime}: {design} for {seconds:.0f} s", flush=True)
        order = Order(design, workload, batches[regime], THREADS[regime], seconds)
        yield {"regime": regime, "design": design, **in_own_process(carry_out, order)}


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Make all runs; returns their figures, and a row for each regime and design."""
    found = list(runs(options))
    machine = f"{platform.platform()}, {CORES} cores, torch {torch.__version__}"
    return {"machine": machine, "rows": rows_of(found), "runs": found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=180.0, help="of the longest run")
    parser.add_argument("--regime", nargs="+", choices=THREADS, default=list(THREADS))
    parser.add_argument("--quick", action="store_true", help="only try whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--from", dest="earlier", type=Path, metavar="FILE", help="an earlier run")
    parser.add_argument(
        "--docs", type=Path, nargs="?", const=DOCUMENTS, metavar="FOLDER", help="renew them there"
    )
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.regime = 2.0, ["spare_core"]
    found = json.loads(options.earlier.read_text()) if options.earlier else measured(options)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    if options.docs:
        renew(options.docs / "performance.md", found)
        plot(found["rows"], options.docs / "images" / "overhead.png")


if __name__ == "__main__":
    main()
