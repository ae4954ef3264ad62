"""Tells what a renderer takes from a training, by steps beside it and steps near by without it.

Two runs on one machine differ by more than that: its speed drifts by a tenth within minutes. Within
a run it does not drift far from one second to the next. So each stretch of steps in which the
renderer or the monitor did anything is compared with as many quiet steps before it and after it.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchlib.monitoring_designs import NoMonitor

FELT = 1e-4
"""Seconds of the renderer or the monitor from which a step counts as beside it."""
MARGIN = 2
"""Steps before and after such a one that are counted with it."""
FEWEST_QUIET = 20
"""Quiet steps, at least, that a stretch is compared with."""
DRAWS = 2000


class Stretch(NamedTuple):
    """Consecutive steps beside the renderer."""

    steps: int
    seconds: float
    excess: float
    """Seconds more than as many quiet steps near by take."""


class Activity:
    """Processor time of this process's descendants, and of the monitor's calls."""

    def __init__(self, design: NoMonitor) -> None:
        self._design = design
        self._spent: dict[int, float] = {}
        self._hooks = 0.0

    def felt(self) -> bool:
        """Return whether either has done anything worth mentioning since the last call."""
        spent = {pid: _processor_seconds(pid) for pid in _descendants(os.getpid())}
        hooks = self._design.hook_seconds()
        renderer = sum(seconds - self._spent.get(pid, 0.0) for pid, seconds in spent.items())
        felt = renderer > FELT or hooks - self._hooks > FELT
        self._spent, self._hooks = spent, hooks
        return felt


def stretches(seconds: Sequence[float], felt: Sequence[bool]) -> list[Stretch] | None:
    """Return the stretches of a run; None where too few steps are quiet to compare with."""
    lengths, beside = np.asarray(seconds), _widened(np.asarray(felt, bool))
    quiet = np.flatnonzero(~beside)
    if len(quiet) < FEWEST_QUIET:
        return None
    return [_compared(lengths, quiet, begin, end) for begin, end in _runs(beside)]


def lost_beside(found: Sequence[Stretch], seconds: float) -> tuple[float, float, float]:
    """Return the share of a training that is lost, with an interval of 95 %.

    seconds: what the whole run took. The stretches are resampled.
    """
    excess = np.array([one.excess for one in found])
    sums = np.random.default_rng(0).choice(excess, (DRAWS, len(excess))).sum(axis=1)
    low, high = (float(limit / (seconds - limit)) for limit in np.percentile(sums, [2.5, 97.5]))
    return float(excess.sum() / (seconds - excess.sum())), low, high


def _widened(felt: np.ndarray) -> np.ndarray:
    """Return it with the steps around each."""
    reach = np.ones(2 * MARGIN + 1, int)
    widened: np.ndarray = np.convolve(felt, reach, "same") > 0
    return widened


def _runs(beside: np.ndarray) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], beside.astype(int), [0]])))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _compared(lengths: np.ndarray, quiet: np.ndarray, begin: int, end: int) -> Stretch:
    half = max(end - begin, FEWEST_QUIET) // 2
    place = int(np.searchsorted(quiet, begin))
    near = quiet[max(0, place - half) : place + half]
    taken = float(lengths[begin:end].sum())
    usual = float(lengths[near].mean()) * (end - begin)
    return Stretch(end - begin, taken, taken - usual)


def _descendants(pid: int) -> Iterator[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return  # it has ended
    for child in map(int, found):
        yield child
        yield from _descendants(child)


def _processor_seconds(pid: int) -> float:
    """Return the processor time of a process, by its clock (Linux); 0 where it has ended."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0
