"""The rows of a timeline: their frames, the bands and lines in them, and the alerts above."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnmon_renderer.drawing.charts.curves import (
    Numbers,
    PlotFrame,
    band_shapes,
    line_shapes,
    thin_out,
    value_range,
)
from attnmon_renderer.drawing.layout.alert_lanes import AlertLanes
from attnmon_renderer.drawing.spec.figure_data import HeadRange, TimelineData
from attnmon_renderer.drawing.spec.page import ColorBlock, Shape
from attnmon_renderer.drawing.spec.palettes import INK

_ALL_ROWS_HEIGHT, _LEAST_HEIGHT, _MOST_HEIGHT, _LOSS_HEIGHT = 560, 24, 150, 130
_GAP = 8
_LINE_WIDTH = 2.5
LOSS = "loss"
"""Name of the lowest row."""


@dataclass(frozen=True)
class TimelineRows:
    """One row for each layer, and one for the loss if it is known; lengths are in pixels.

    Above them is a lane for each rule that had an alert.
    """

    data: TimelineData
    left: int
    """Left edge of the frames."""
    right: int
    """Right edge of the frames."""
    top: int
    """Upper edge of the first lane, or frame."""
    limits: tuple[float, float]
    """The numbers at the lower and at the upper edge of each layer's frame."""

    @cached_property
    def losses(self) -> Numbers:
        """[captures] NaN where the loss is not known"""
        losses = self.data.losses
        return np.array([np.nan if loss is None else loss for loss in losses], np.float64)

    @cached_property
    def lanes(self) -> AlertLanes:
        """The lanes of the alerts."""
        across = self._frame(self.top, 0, self.limits).across
        return AlertLanes(self.data.alerts, self.left, self.right, self.top, across)

    @cached_property
    def layer_frames(self) -> tuple[PlotFrame, ...]:
        """The frame of each layer, from the top down."""
        rows = len(self.data.layers)
        height = min(max(_ALL_ROWS_HEIGHT // rows - _GAP, _LEAST_HEIGHT), _MOST_HEIGHT)
        first = self.top + self.lanes.height
        tops = (first + row * (height + _GAP) for row in range(rows))
        return tuple(self._frame(top, height, self.limits) for top in tops)

    @cached_property
    def loss_frame(self) -> PlotFrame | None:
        """The frame of the loss below the layers; None if no loss is a number."""
        if not np.isfinite(self.losses).any():
            return None
        top = self.layer_frames[-1].bottom + 3 * _GAP
        return self._frame(top, _LOSS_HEIGHT, value_range(self.losses))

    @property
    def last_frame(self) -> PlotFrame:
        """The lowest frame, which has the ticks of the steps."""
        return self.loss_frame or self.layer_frames[-1]

    def shapes(self) -> Iterator[Shape]:
        """Yield the frames' backgrounds, the layers' bands and lines, and the line of the loss."""
        for frame, (_, heads) in zip(self.layer_frames, self.data.layers, strict=True):
            yield frame.background
            steps, shown = thin_out(self._steps, heads, frame.width)
            yield from band_shapes(frame, steps, shown.low, shown.high)
            yield from line_shapes(frame, steps, shown.mean, INK, _LINE_WIDTH)
        if loss_frame := self.loss_frame:
            yield loss_frame.background
            losses = HeadRange(self.losses, self.losses, self.losses)
            steps, shown = thin_out(self._steps, losses, loss_frame.width)
            yield from line_shapes(loss_frame, steps, shown.mean, INK, _LINE_WIDTH)

    def blocks(self) -> Iterator[ColorBlock]:
        """Yield the bars of the alerts, and marks where they fired in the rows they are about."""
        yield from self.lanes.bars()
        frames = zip((name for name, _ in self.data.layers), self.layer_frames, strict=True)
        for name, frame in (*frames, (LOSS, self.loss_frame)):
            if frame is not None:
                yield from self.lanes.marks(name, frame.y, frame.height)

    @cached_property
    def _steps(self) -> Numbers:
        return np.asarray(self.data.steps, np.float64)

    def _frame(self, top: int, height: int, limits: tuple[float, float]) -> PlotFrame:
        width = self.right - self.left
        return PlotFrame(self.left, top, width, height, self._steps[0], self._steps[-1], *limits)
