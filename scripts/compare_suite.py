"""Train small language models, and measure what `attnmon compare` says of them is worth.

    python scripts/compare_suite.py [--quick] [--only NAME] [--runs DIR] [--json FILE]

What was trained before in --runs is not trained again. It takes some twenty minutes of a core; with
--quick, which is too short to say much, less than a minute. The exit code is 1 if a goal is missed.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from benchlib.one_thread import run_on_one_thread
from comparelib.experiments import Experiments
from comparelib.shared_renderer import shared_renderer
from comparelib.trained_run import Recipe

LARGE = Recipe(layers=12, heads=12, width=144, length=128, batch=4, steps=200, every=1, maps=True)
SMALL = Recipe()
QUICK_LARGE = Recipe(layers=2, heads=4, length=32, steps=20, every=1, maps=True)
QUICK_SMALL = Recipe(length=24, batch=4, steps=12, every=4)


def main() -> int:
    options = parsed()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary, shared_renderer():
        folder = options.runs or Path(temporary)
        large, small = (QUICK_LARGE, QUICK_SMALL) if options.quick else (LARGE, SMALL)
        experiments = Experiments(folder, large, small, 1 if options.quick else 20).by_name()
        found = {}
        for name in filter(lambda name: options.only in name, experiments):
            found[name] = figures = experiments[name]()
            print(f"{'well' if figures['well'] else 'MISSED'}  {name}: {figures}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(figures["well"] for figures in found.values()) else 1


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="experiments whose name has this in it")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    run_on_one_thread()
    sys.exit(main())
