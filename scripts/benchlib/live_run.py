"""One run of a live benchmark: a process that trains for some time while a design draws."""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from benchlib.live_impact import Activity, stretches
from benchlib.monitoring_designs import Attnmon, InLoop, NoMonitor, ThreadPool
from benchlib.plain_drawing import EVERYTHING, Configuration
from benchlib.workloads import WORKLOADS, Training

T = TypeVar("T")
CONFIGURATION = Configuration("everything_every_50", 50, EVERYTHING)
MAX_OVERHEAD = 0.005
WARM_UP = 20
"""Steps before the monitor is constructed."""
WINDOW = 15.0
"""Seconds of training of which a mean step is told: many captures fall into it."""
_STEP_FOLDER = re.compile(r"step_(\d+)$")


class InLoopTimed(InLoop):
    """It also notes when each figure was added: the file of events does not tell."""

    def __init__(self, configuration: Configuration, folder: Path) -> None:
        super().__init__(configuration, folder)
        self.drawn: dict[int, float] = {}

    def log(self, model: nn.Module, enc: Tensor, dec: Tensor, step: int, loss: float) -> None:
        super().log(model, enc, dec, step, loss)
        if step % CONFIGURATION.every == 0:
            self.drawn[step] = time.time()


class ThreadPoolStopped(ThreadPool):
    """It does not draw what is left at the end, which may take minutes."""

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


DESIGNS: dict[str, Callable[[Path], NoMonitor]] = {
    "none": lambda folder: NoMonitor(),
    "attnmon": lambda folder: Attnmon(CONFIGURATION, folder, MAX_OVERHEAD),
    "thread_pool": lambda folder: ThreadPoolStopped(CONFIGURATION, folder),
    "in_loop": lambda folder: InLoopTimed(CONFIGURATION, folder),
}


@dataclass(frozen=True)
class Order:
    """What a run is to do."""

    design: str
    workload: str
    batch: int
    threads: int
    seconds: float


def in_own_process(do: Callable[..., T], *arguments: Any) -> T:
    """Return what a function returns in a process that is forked from this one.

    This one may not have computed with torch: threads of it would be missing there.
    """
    with get_context("fork").Pool(1) as pool:
        return pool.apply(do, arguments)


def fitting_batch(workload: str, threads: int) -> int:
    """Return the number of samples with which a step takes as long as it should."""
    torch.set_num_threads(threads)
    return Training(WORKLOADS[workload]).batch


def carry_out(order: Order) -> dict[str, Any]:
    """Train for the time ordered; returns the figures of the run."""
    torch.set_num_threads(order.threads)
    training = Training(WORKLOADS[order.workload], order.batch)
    for _ in range(WARM_UP):
        training.step()
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        begin = time.time()
        design = DESIGNS[order.design](Path(folder))
        activity, felt = Activity(design), list[bool]()
        logged = []
        for moment in _train(training, design, begin + order.seconds):
            logged.append(moment)
            felt.append(activity.felt())
        end = time.time()
        drawn = _drawn(design, Path(folder))
        closing = time.time()
        design.close()
        seconds_to_close = time.time() - closing
    ages = list(_ages(logged, drawn, end))
    return {
        "seconds": end - begin,
        "step_ms": 1e3 * (end - begin) / len(logged),
        "windows_ms": list(_windows_ms(begin, logged)),
        "stretches": stretches(np.diff([begin, *logged]).tolist(), felt),
        "steps": len(logged),
        "captures": design.captures(len(logged)),
        "drawn": len(drawn),
        "first_picture": min(drawn.values()) - logged[0] if drawn else None,
        "worst_age": max((age for _, age in ages), default=None),
        "ages": [(moment - begin, age) for moment, age in ages],
        "close_seconds": seconds_to_close,
    }


def _train(training: Training, design: NoMonitor, until: float) -> Iterator[float]:
    """Yield when each step was logged."""
    step = 0
    while (now := time.time()) < until:
        loss = training.step()
        now = time.time()
        design.log(training.model, training.enc, training.dec, step, loss)
        step += 1
        yield now


def _windows_ms(begin: float, logged: list[float]) -> Iterator[float]:
    """Yield the mean step of each window; of all, where there is not a whole one."""
    first, count = begin, 0
    for moment in logged:
        count += 1
        if moment - first >= WINDOW:
            yield 1e3 * (moment - first) / count
            first, count = moment, 0
    if first == begin:
        yield 1e3 * (logged[-1] - begin) / len(logged)


def _drawn(design: NoMonitor, folder: Path) -> dict[int, float]:
    """Return when the last picture of each step was drawn."""
    if isinstance(design, InLoopTimed):
        return design.drawn
    found = {}
    for below in folder.glob("step_*"):
        pictures = [os.stat(path).st_mtime for path in below.glob("*.png")]
        if pictures and (name := _STEP_FOLDER.search(below.name)):
            found[int(name[1])] = max(pictures)
    return found


def _ages(
    logged: list[float], drawn: dict[int, float], end: float
) -> Iterator[tuple[float, float]]:
    """Yield the moments before a newer picture is there, and how old the newest is then."""
    newest = None
    for step, moment in sorted(drawn.items(), key=lambda pair: pair[1]):
        if newest is not None and step > newest:
            yield moment, moment - logged[newest]
        newest = step if newest is None else max(step, newest)
    if newest is not None:
        yield end, end - logged[newest]
