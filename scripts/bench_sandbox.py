"""Measure what the sandbox of an extra forward costs, which an ordinary training makes once.

    python scripts/bench_sandbox.py [--quick] [--json FILE]

A round is one forward of one sample in each way, in random order: the model alone, under the tap
as its own forward is watched, and as an extra forward in its sandbox. Processor time in one thread;
medians, with 95 % intervals from resampling the rounds.
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_capture import SIZES
from benchlib.one_thread import run_on_one_thread
from torch import Tensor, nn

from attnmon.capture import CallListener, Tap, module_names, probe

RESAMPLES = 2000
Forward = Callable[[], object]


def ways_of(model: nn.Module, sample: Tensor) -> dict[str, Forward]:
    """Returns the ways to make one forward of this sample."""
    listener = CallListener(lambda call: None)

    @torch.no_grad()
    def tapped() -> None:
        with Tap(module_names(model), listener):
            model(sample)

    return {
        "model alone": torch.no_grad()(lambda: model(sample)),
        "under the tap": tapped,
        "in the sandbox": lambda: probe(
            model, sample, None, listener, batch_dim=0, layouts=lambda name, index: None
        ),
    }


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    size = SIZES[name]
    ways = ways_of(size.model().train(), size.inputs(0)[:1])
    first = {way: seconds_of(forward) for way, forward in ways.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    for _ in range(rounds):
        random.shuffle(order)
        for way in order:
            seconds[way].append(seconds_of(ways[way]))
    return [
        {"model": name, "way": way, "first_ms": first[way] * 1e3, **interval(seconds[way])}
        for way in ways
    ]


def seconds_of(forward: Forward) -> float:
    start = time.process_time()
    forward()
    return time.process_time() - start


def interval(seconds: list[float]) -> dict[str, float]:
    """Returns the median and the ends of its 95 % interval, in milliseconds."""
    times = np.array(seconds) * 1e3
    rounds = np.random.default_rng(0).integers(len(times), size=(RESAMPLES, len(times)))
    low, high = np.quantile(np.median(times[rounds], axis=1), (0.025, 0.975))
    return {"ms": float(np.median(times)), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    run_on_one_thread()
    random.seed(0)
    rows = [row for name in SIZES for row in measure(name, 10 if options.quick else 100)]
    for row in rows:
        print(
            f"{row['model']:8}{row['way']:16}{row['ms']:9.2f} ms   {row['low']:.2f} … "
            f"{row['high']:.2f}   the first {row['first_ms']:.1f}"
        )
    if options.json:
        about = {"machine": platform.platform(), "torch": torch.__version__, "rows": rows}
        Path(options.json).write_text(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
