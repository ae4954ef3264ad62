"""Numbers over steps to lines and bands, in pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.page import Shape

Numbers = NDArray[np.float64]

BACKGROUND, BAND = 243, 196
"""Greys."""


@dataclass(frozen=True, slots=True)
class PlotFrame:
    """A rectangle of the page, and what its edges stand for."""

    x: int
    y: int
    width: int
    height: int
    first: float
    last: float
    low: float
    high: float

    def across(self, steps: Numbers) -> Numbers:
        """Pixels, in the middle of the frame where there is but one step."""
        if self.last <= self.first:
            return np.full(len(steps), self.x + self.width / 2)
        return self.x + self.width * (steps - self.first) / (self.last - self.first)

    def down(self, numbers: Numbers) -> Numbers:
        share = (np.clip(numbers, self.low, self.high) - self.low) / (self.high - self.low)
        return self.y + self.height * (1 - share)

    @property
    def background(self) -> Shape:
        right, lower = self.x + self.width, self.y + self.height
        corners = [(self.x, self.y), (right, self.y), (right, lower), (self.x, lower)]
        return Shape(np.array(corners, np.float64), BACKGROUND)


def band_shapes(
    frame: PlotFrame, steps: Numbers, lower: Numbers, upper: Numbers
) -> Iterator[Shape]:
    """The area between two curves, a shape for each stretch without a gap."""
    x = frame.across(steps)
    for run in _runs(np.isfinite(lower) & np.isfinite(upper)):
        above = np.column_stack([x[run], frame.down(upper[run])])
        below = np.column_stack([x[run], frame.down(lower[run])])
        if len(above) > 1:
            yield Shape(np.vstack([above, below[::-1]]), BAND)


def line_shapes(
    frame: PlotFrame, steps: Numbers, numbers: Numbers, grey: int, width: float
) -> Iterator[Shape]:
    """A curve, a shape for each stretch without a gap; a single number is a dot."""
    x = frame.across(steps)
    for run in _runs(np.isfinite(numbers)):
        points = np.column_stack([x[run], frame.down(numbers[run])])
        if len(points) == 1:
            yield Shape(points + [(-0.5, 0), (0.5, 0)], grey, 4 * width)
        else:
            yield Shape(points, grey, width)


def summarize_heads(
    steps: Numbers, numbers: Numbers, pixels: int
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Steps, lowest, highest and mean of the heads; of captures on one pixel all count."""
    kept, starts = _thinned(steps, pixels)
    low = np.fmin.reduceat(np.fmin.reduce(numbers, axis=1), starts)
    high = np.fmax.reduceat(np.fmax.reduce(numbers, axis=1), starts)
    means = mean_of_heads(numbers)
    there = np.isfinite(means)
    counts = np.add.reduceat(there.astype(np.float64), starts)
    with np.errstate(invalid="ignore"):
        return kept, low, high, np.add.reduceat(np.where(there, means, 0), starts) / counts


def mean_of_heads(numbers: Numbers) -> Numbers:
    """Over the heads that have a number; NaN where none has."""
    there = np.isfinite(numbers)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, numbers, 0).sum(axis=1) / there.sum(axis=1))


def value_range(numbers: Numbers) -> tuple[float, float]:
    """The lowest and the highest number, or what makes a scale where they are one or none."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _thinned(steps: Numbers, pixels: int) -> tuple[Numbers, NDArray[np.intp]]:
    """At most one step a pixel, and where in `steps` the captures begin that share it."""
    span = max(steps[-1] - steps[0], 1)
    columns = ((steps - steps[0]) / span * (pixels - 1)).astype(np.intp)
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    return steps[starts], starts


def _runs(there: NDArray[np.bool_]) -> Iterator[slice]:
    edges = np.flatnonzero(np.diff(there, prepend=False, append=False))
    for first, end in edges.reshape(-1, 2):
        yield slice(int(first), int(end))
