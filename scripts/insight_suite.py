"""Train sick and healthy transformers, and measure what the alerts are worth on them.

    python scripts/insight_suite.py [--quick] [--runs DIR] [--only NAME] [--judge] [--half HALF]
                                    [--json FILE] [--table FILE]

Each sick training has a healthy twin of the same seed, data and model. What was trained before in
--runs is not trained again, so that other rules can be judged on the same histories (--judge). The
rules were chosen on one half of the configurations, and are reported on the other: see
`insightlib.configurations`.
"""

import argparse
import time
from pathlib import Path

import torch
from benchlib.one_thread import run_on_one_thread
from insightlib.configurations import ALL, SEEDS
from insightlib.training import train


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    todo = [(of, seed) for seed in SEEDS for of in ALL if options.only in of.name]
    for index, (of, seed) in enumerate(todo):
        begun = time.monotonic()
        train(of, seed, options.runs / of.name / str(seed))
        seconds = time.monotonic() - begun
        print(f"{index + 1}/{len(todo)} {of.name} {seed}: {seconds:.1f} s", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=Path, default=Path("build/insight"))
    parser.add_argument("--only", default="")
    return parser.parse_args()


if __name__ == "__main__":
    run_on_one_thread()
    main()
