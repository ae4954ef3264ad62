"""Train sick and healthy transformers, and measure what the alerts are worth on them.

    python scripts/insight_suite.py [--quick] [--runs DIR] [--only NAME] [--judge] [--half HALF]
                                    [--json FILE]

Each sick training has a healthy twin of the same seed, data and model. What was trained before in
--runs is not trained again, so that other rules can be judged on the same histories (--judge). The
rules were chosen on one half of the configurations, and are reported on the other: see
`insightlib.configurations`.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from benchlib.one_thread import run_on_one_thread
from insightlib.configurations import ALL, HALF, SEEDS, Configuration
from insightlib.judging import OURS, Judged, judge
from insightlib.tables import WAYS, account, figures, table
from insightlib.training import train

QUICK = ("marker", "marker_open", "marker_jump")


def main() -> int:
    options = parsed()
    torch.set_num_threads(1)
    chosen = QUICK if options.quick else [of.name for of in ALL if options.only in of.name]
    seeds = SEEDS[:1] if options.quick else SEEDS
    todo = [(of, seed) for seed in seeds for of in ALL if of.name in chosen]
    if not options.judge:
        train_all(todo, options.runs)
    runs = [judge(of, seed, options.runs) for of, seed in todo]
    judged = [run for run in runs if run is not None]
    for half in ("choosing", "reported") if options.half is None else (options.half,):
        report(half, [run for run in judged if run.half == half])
    if options.json:
        text = json.dumps([as_json(run) for run in judged], indent=1)
        options.json.write_text(text)
    return check_quick(judged) if options.quick else 0


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
    kinds = {run.configuration.name: run for run in runs}
    quiet = not kinds["marker"].alarms[OURS]
    leak = any(alert.rule == "padding_leak" for alert in kinds["marker_open"].alerts)
    grown = bool(kinds["marker_jump"].alarms[OURS])
    print(f"healthy quiet: {quiet}; padding told: {leak}; jump told: {grown}")
    return 0 if quiet and leak and grown and figures(runs, WAYS[0]) else 1


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("--runs", type=Path, default=Path("build/insight"), help="where trainings are kept")
    add("--quick", action="store_true", help="three short trainings of one seed, and a check")
    add("--only", default="", metavar="NAME", help="those whose names hold this")
    add("--judge", action="store_true", help="train nothing, judge what is there")
    add("--half", choices=("choosing", "reported"), help="of the configurations; default: both")
    add("--json", type=Path, metavar="FILE", help="write what is known of every run")
    return parser.parse_args()


if __name__ == "__main__":
    run_on_one_thread()
    sys.exit(main())
