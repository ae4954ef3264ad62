"""Finds the captures of two runs that belong together: by step, by loss, or by the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from attnmon_renderer.compare.series.run_series import CaptureEntry

Align = Literal["step", "loss", "end"]
ALIGNMENTS: tuple[Align, ...] = get_args(Align)

SMOOTHING = 0.6
"""Of the loss's moving average, as TensorBoard's default; without its bias to the first value."""

Captures = Sequence[CaptureEntry]


class NotAligned(Exception):
    """Runs have no captures that belong together; says why, and what would do."""


@dataclass(frozen=True, slots=True)
class AlignedPoint:
    """Where runs are compared."""

    align: Align
    at: float
    """A step, a loss, or steps before the end."""
    indices: tuple[int, ...]
    """Of each run's capture."""


def find_point(runs: Sequence[Captures], align: Align, at: float | None) -> AlignedPoint:
    """Return the captures to compare, one of each run. Raises `NotAligned`.

    Args:
        at: The step, the loss or the steps before the end at which runs are compared. By default
            the last step that all have captured, the lowest loss that all have reached, the end.
    """
    if empty := [str(number) for number, run in enumerate(runs, 1) if not run]:
        raise NotAligned(f"nothing was captured in run {' and '.join(empty)} of those given")
    if align == "step":
        return _by_step(runs, at)
    return _by_loss(runs, at) if align == "loss" else _by_end(runs, at or 0.0)


def _by_step(runs: Sequence[Captures], at: float | None) -> AlignedPoint:
    common = set.intersection(*({capture.step for capture in run} for run in runs))
    last = min(run[-1].step for run in runs) if at is None else at
    step = max((each for each in common if each <= last), default=last if at is None else at)
    return AlignedPoint("step", step, tuple(_last_until(run, step) for run in runs))


def _by_end(runs: Sequence[Captures], before: float) -> AlignedPoint:
    indices = tuple(_last_until(run, run[-1].step - before) for run in runs)
    return AlignedPoint("end", before, indices)


def _by_loss(runs: Sequence[Captures], at: float | None) -> AlignedPoint:
    smooth = [smoothed_losses(run) for run in runs]
    lowest = [min((loss for loss in run if loss is not None), default=None) for run in smooth]
    if None in lowest:
        raise NotAligned("no loss was logged in one of them: give align=step or end")
    reached = max(loss for loss in lowest if loss is not None)
    level = reached if at is None else at
    if level < reached:
        raise NotAligned(f"a loss of {level:.4g} was not reached by all: {reached:.4g} was")
    indices = tuple(_first_below(run, level) for run in smooth)
    return AlignedPoint("loss", level, indices)


def smoothed_losses(run: Captures) -> list[float | None]:
    """Return the moving average of the loss at each capture; None until there is one."""
    average = weight = 0.0
    found: list[float | None] = []
    for capture in run:
        if capture.loss is not None:
            average = SMOOTHING * average + (1 - SMOOTHING) * capture.loss
            weight = SMOOTHING * weight + (1 - SMOOTHING)
        found.append(average / weight if weight else None)
    return found


def _first_below(losses: Sequence[float | None], level: float) -> int:
    """Return the first capture whose loss is at most this."""
    return next(i for i, loss in enumerate(losses) if loss is not None and loss <= level)


def _last_until(run: Captures, step: float) -> int:
    until = [index for index, capture in enumerate(run) if capture.step <= step]
    if not until:
        raise NotAligned(f"nothing was captured up to step {step:g}: the first is {run[0].step}")
    return until[-1]
