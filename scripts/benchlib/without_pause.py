"""Measures how much continuous drawing slows the steps: attnmon's renderer and a thread pool."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchlib.monitoring_designs import Attnmon, NoMonitor, ThreadPool
from benchlib.plain_drawing import EVERYTHING, Configuration
from benchlib.workloads import Training

AT_ONCE = 2
"""Captures that are always being drawn: one per worker or thread."""


def drawing_without_pause(training: Training, seconds: float) -> dict[str, Any]:
    """Compare steps beside drawing with steps without a monitor: mean and 99th percentile.

    Only steps that are not due count; the calls of due steps are in `Row.accounted`.
    """
    steps: dict[str, list[float]] = {"none": [], "attnmon": [], "thread_pool": []}
    everything = Configuration("everything", 1_000_000, EVERYTHING)
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        designs = {
            "none": NoMonitor(),
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
    return summarize(steps)


def steps_beside(training: Training, design: NoMonitor, seconds: float) -> list[float]:
    """Returns the seconds of each step while the design draws; then waits until all is drawn."""
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


def capture(training: Training, design: NoMonitor) -> None:
    for step in (0, 1):  # after the second, the next step is not expected to be due
        design.log(training.model, training.enc, training.dec, step, 0.0)


def await_drawing(design: NoMonitor, patience: float = 60.0) -> None:
    give_up = time.perf_counter() + patience
    while design.waiting() and time.perf_counter() < give_up:
        time.sleep(0.01)


def summarize(steps: dict[str, list[float]]) -> dict[str, Any]:
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
