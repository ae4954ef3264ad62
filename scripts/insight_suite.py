"""Train sick and healthy transformers, and measure what the alerts are worth on them.

    python scripts/insight_suite.py [--quick] [--runs DIR] [--only NAME] [--judge] [--half HALF]
                                    [--json FILE]

Each sick training has a healthy twin of the same seed, data and model. What was trained before in
--runs is not trained again, so that other rules can be judged on the same histories (--judge). The
rules were chosen on `insightlib.configurations`, and are reported on `insightlib.held_out`.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from benchlib.one_thread import run_on_one_thread
from insightlib.configuration import SEEDS, Configuration
from insightlib.configurations import ALL, HALF
from insightlib.judging import OURS, Judged, judge
from insightlib.tables import account, table
from insightlib.training import train

QUICK = ("copy", "copy_jump", "copy_ahead_by_hand")
QUICK_STEPS, QUICK_FAULT = 100, 40
HALVES = ("held out", "reported", "choosing")


def main() -> int:
    options = parsed()
    torch.set_num_threads(1)
    if options.quick:
        few = [
            replace(of, steps=QUICK_STEPS, fault_at=QUICK_FAULT) for of in ALL if of.name in QUICK
        ]
        todo = [(of, 0) for of in few]
    else:
        todo = [(of, seed) for seed in SEEDS for of in ALL if options.only in of.name]
    if not options.judge:
        train_all(todo, options.runs)
    runs = [judge(of, seed, options.runs) for of, seed in todo]
    judged = [run for run in runs if run is not None]
    if options.quick:
        return check_quick(judged)
    for half in HALVES if options.half is None else (options.half,):
        report(half, [run for run in judged if run.half == half])
    if options.json:
        text = json.dumps([as_json(run) for run in judged], indent=1)
        options.json.write_text(text)
    return 0


def train_all(todo: list[tuple[Configuration, int]], runs: Path) -> None:
    """Train what was not trained before; several such processes share the work."""
    runs.mkdir(parents=True, exist_ok=True)
    for index, (of, seed) in enumerate(todo):
        begun = time.monotonic()
        if train(of, seed, runs / of.name / str(seed)):
            seconds = time.monotonic() - begun
            print(f"{index + 1}/{len(todo)} {of.name} {seed}: {seconds:.1f} s", flush=True)


def report(half: str, runs: list[Judged]) -> None:
    """Print the tables of one half of the configurations."""
    names = sum(HALF[of.name] == half for of in ALL)
    print(f"\n## {half}: {len(runs)} runs of {names} configurations\n")
    print(f"{table(runs)}\n\n{account(runs)}")


def as_json(run: Judged) -> dict[str, object]:
    """Return what is known of a run."""
    return {
        "name": run.configuration.name, "seed": run.seed, "half": run.half, "kind": run.kind,
        "captures": run.captures, "twin_onset": run.twin_onset, "band_onset": run.band_onset,
        "first": {way: steps[0] for way, steps in run.alarms.items() if steps},
        "messages": run.messages,
        "alerts": [alert.fields() for alert in run.alerts],
    }  # fmt: skip


def check_quick(runs: list[Judged]) -> int:
    """Return 0 if the few trainings give what they are known to give."""
    alarms = {run.configuration.name: run.alarms[OURS] for run in runs}
    jump, ahead = alarms.get("copy_jump", []), alarms.get("copy_ahead_by_hand", [])
    told = {
        "a healthy training is quiet": alarms.get("copy") == [],
        "a rate that jumps is told": bool(jump) and jump[0] >= QUICK_FAULT,
        "a mask that is off by one is told at once": ahead[:1] == [0],
    }
    for what, holds in told.items():
        print(f"{'ok' if holds else 'NOT SO'}: {what}")
    return 0 if all(told.values()) else 1


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("--runs", type=Path, default=Path("build/insight"), help="where trainings are kept")
    add("--quick", action="store_true", help="three short trainings of one seed, and a check")
    add("--only", default="", metavar="NAME", help="those whose names hold this")
    add("--judge", action="store_true", help="train nothing, judge what is there")
    add("--half", choices=HALVES, help="of the configurations; default: both")
    add("--json", type=Path, metavar="FILE", help="write what is known of every run")
    return parser.parse_args()


if __name__ == "__main__":
    run_on_one_thread()
    sys.exit(main())
