"""How drawing without pause disturbs the steps beside it: attnmon's renderer, and a thread pool."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchlib.monitoring_designs import Attnmon, Nothing, ThreadPool
from benchlib.plain_drawing import EVERYTHING, Configuration
from benchlib.workloads import Training

AT_ONCE = 2
"""So many captures are always being drawn: as many as there are workers, or threads."""


def drawing_without_pause(training: Training, seconds: float) -> dict[str, Any]:
    """Mean and 99th percentile of the steps that are not due, in turns, over those without.

    What the calls of due steps take is not in it: `accounted` says that.
    """
    steps: dict[str, list[float]] = {"none": [], "attnmon": [], "thread_pool": []}
    everything = Configuration("everything", 1_000_000, EVERYTHING)
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        designs = {
            "none": Nothing(),
            "attnmon": Attnmon(everything, Path(folder, "attnmon")),
            "thread_pool": ThreadPool(everything, Path(folder, "thread_pool")),
        }
        for design in designs.values():
            capture(training, design)  # what draws is loaded at the first
            await_drawing(design)
        for name in ("none", "attnmon", "thread_pool", "none", "attnmon", "none"):
            steps[name] += steps_beside(training, designs[name], seconds)
        for design in designs.values():
            design.close()
    return summed_up(steps)


def steps_beside(training: Training, design: Nothing, seconds: float) -> list[float]:
    """Seconds of each step while the design draws; what is left at the end is awaited."""
    found = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if design.waiting() < AT_ONCE:
            capture(training, design)
        start = time.perf_counter()
        training.step()
        found.append(time.perf_counter() - start)
    await_drawing(design)
    return found


def capture(training: Training, design: Nothing) -> None:
    for step in (0, 1):  # after the second, the next step is not expected to be due
        design.log(training.model, training.enc, training.dec, step, 0.0)


def await_drawing(design: Nothing, patience: float = 60.0) -> None:
    give_up = time.perf_counter() + patience
    while design.waiting() and time.perf_counter() < give_up:
        time.sleep(0.01)


def summed_up(steps: dict[str, list[float]]) -> dict[str, Any]:
    means = {name: float(np.mean(times)) for name, times in steps.items()}
    p99 = {name: float(np.percentile(times, 99)) for name, times in steps.items()}
    ours, theirs = (means[name] - means["none"] for name in ("attnmon", "thread_pool"))
    return {
        "step_ms": 1e3 * means["none"],
        "mean": means["attnmon"] / means["none"],
        "p99": p99["attnmon"] / p99["none"],
        "thread_pool_mean": means["thread_pool"] / means["none"],
        "thread_pool_p99": p99["thread_pool"] / p99["none"],
        "interference": theirs / ours if ours > 0 else None,
    }
