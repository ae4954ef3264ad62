"""Curves in a frame: numbers over steps to lines and bands, in pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.figure_data import HeadRange
from attnmon_renderer.drawing.spec.page import Shape

Numbers = NDArray[np.float64]

BACKGROUND, BAND = 243, 196
"""Greys, 0 to 255."""


@dataclass(frozen=True, slots=True)
class PlotFrame:
    """A rectangle of the page in pixels, and the steps and numbers at its edges."""

    x: int
    y: int
    width: int
    height: int
    first: float
    """Step at the left edge."""
    last: float
    """Step at the right edge."""
    low: float
    """Number at the lower edge."""
    high: float
    """Number at the upper edge."""

    @property
    def bottom(self) -> int:
        """Pixels from the page's upper edge to the frame's lower edge."""
        return self.y + self.height

    @property
    def background(self) -> Shape:
        """The frame as a filled area."""
        right, lower = self.x + self.width, self.bottom
        corners = [(self.x, self.y), (right, self.y), (right, lower), (self.x, lower)]
        return Shape(np.array(corners, np.float64), BACKGROUND)

    def across(self, steps: Numbers) -> Numbers:
        """Return the x of each step in pixels; the middle of the frame if there is one step."""
        if self.last <= self.first:
            return np.full(len(steps), self.x + self.width / 2)
        return self.x + self.width * (steps - self.first) / (self.last - self.first)

    def down(self, numbers: Numbers) -> Numbers:
        """Return the y of each number in pixels, clipped to the frame."""
        fraction = (np.clip(numbers, self.low, self.high) - self.low) / (self.high - self.low)
        return self.y + self.height * (1 - fraction)


def band_shapes(
    frame: PlotFrame, steps: Numbers, lower: Numbers, upper: Numbers
) -> Iterator[Shape]:
    """Yield the area between two curves, one shape for each stretch without a gap."""
    x = frame.across(steps)
    for run in _runs(np.isfinite(lower) & np.isfinite(upper)):
        above = np.column_stack([x[run], frame.down(upper[run])])
        below = np.column_stack([x[run], frame.down(lower[run])])
        if len(above) > 1:
            yield Shape(np.vstack([above, below[::-1]]), BAND)


def line_shapes(
    frame: PlotFrame, steps: Numbers, numbers: Numbers, grey: int, width: float
) -> Iterator[Shape]:
    """Yield a curve, one shape for each stretch without a gap; a single number is a dot."""
    x = frame.across(steps)
    for run in _runs(np.isfinite(numbers)):
        points = np.column_stack([x[run], frame.down(numbers[run])])
        if len(points) == 1:
            yield Shape(points + [(-0.5, 0), (0.5, 0)], grey, 4 * width)
        else:
            yield Shape(points, grey, width)


def thin_out(steps: Numbers, heads: HeadRange, pixels: int) -> tuple[Numbers, HeadRange]:
    """Return at most one step a pixel, and the numbers there.

    Captures that share a pixel are summarized together, so that no extreme is lost.
    """
    kept, starts = _thinned(steps, pixels)
    low, high = np.fmin.reduceat(heads.low, starts), np.fmax.reduceat(heads.high, starts)
    known = np.isfinite(heads.mean)
    counts = np.add.reduceat(known.astype(np.float64), starts)
    with np.errstate(invalid="ignore"):
        mean = np.add.reduceat(np.where(known, heads.mean, 0), starts) / counts
    return kept, HeadRange(low, high, mean)


def value_range(numbers: Numbers) -> tuple[float, float]:
    """Return the lowest and the highest number, apart by 1 if they are equal or there is none."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _thinned(steps: Numbers, pixels: int) -> tuple[Numbers, NDArray[np.intp]]:
    """Return at most one step a pixel, and the index of the first capture of each pixel."""
    span = max(steps[-1] - steps[0], 1)
    columns = ((steps - steps[0]) / span * (pixels - 1)).astype(np.intp)
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    return steps[starts], starts


def _runs(known: NDArray[np.bool_]) -> Iterator[slice]:
    """Yield the stretches in which every number is known."""
    edges = np.flatnonzero(np.diff(known, prepend=False, append=False))
    for first, end in edges.reshape(-1, 2):
        yield slice(int(first), int(end))
