"""A statistic of all heads over the steps of a run, layer by layer, and the loss beneath.

A row a layer: the band reaches from the lowest head to the highest, the line is their mean, and
the number at its end is where it stands now. Pure: from numbers to a finished PNG.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnmon_renderer.drawing.charts.curves import (
    Numbers,
    PlotFrame,
    band_shapes,
    line_shapes,
    mean_of_heads,
    summarize_heads,
    value_range,
)
from attnmon_renderer.drawing.layout import labels as page_labels
from attnmon_renderer.drawing.layout.font_sizes import FontSizes
from attnmon_renderer.drawing.spec.figure_data import TimelineData
from attnmon_renderer.drawing.spec.page import ColorBlock, Page, Shape, Text
from attnmon_renderer.drawing.spec.palettes import INK, WEIGHT_PALETTE
from attnmon_renderer.drawing.spec.scales import linear_scale
from attnmon_renderer.drawing.text.glyphs import shorten, text_width

_SIZES = FontSizes(1.0)
_WIDTH = 1000
_LEAST_NAME, _LONGEST_NAME, _NUMBER = 60, 260, 84
_ROWS_HEIGHT, _LEAST_ROW, _LARGEST_ROW, _LOSS_HEIGHT = 560, 24, 150, 130
_GAP, _LINE = 8, 2.5
_CAPITAL = page_labels.capital_height(_SIZES.tick)


def timeline(data: TimelineData) -> Page:
    """Lay out one row for each layer, and one for the loss where there is any."""
    return _Timeline(data).page()


@dataclass(frozen=True)
class _Timeline:
    data: TimelineData

    def page(self) -> Page:
        foot = self.frames[-1].y + self.frames[-1].height
        ticks = tuple(self._step_ticks(foot))
        return Page(
            _WIDTH,
            foot + 84 + _SIZES.margin,
            WEIGHT_PALETTE,
            _SIZES.tick_length,
            (),
            (),
            tuple(block for block, _ in ticks),
            (*self.header, *self._names(), *(text for _, text in ticks), self._axis_name(foot)),
            tuple(self._shapes()),
        )

    @cached_property
    def header(self) -> tuple[Text, ...]:
        rows = f"band: all heads, line: their mean, from {self.limits[0]:g} to {self.limits[1]:g}"
        remarks = (f"{self.data.statistic} · {rows}",)
        return tuple(page_labels.header_texts(self.data.caption, remarks, _WIDTH, _SIZES))

    @cached_property
    def steps(self) -> Numbers:
        return np.asarray(self.data.steps, np.float64)

    @cached_property
    def losses(self) -> Numbers:
        given = self.data.losses
        return np.array([np.nan if loss is None else loss for loss in given], np.float64)

    @cached_property
    def limits(self) -> tuple[float, float]:
        numbers = np.concatenate([layer.ravel() for _, layer in self.data.layers])
        low, high = value_range(numbers)
        return (
            low if self.data.low is None else self.data.low,
            high if self.data.high is None else self.data.high,
        )

    @cached_property
    def frames(self) -> tuple[PlotFrame, ...]:
        """One a layer, and one for the loss where there is any."""
        rows = len(self.data.layers)
        height = min(max(_ROWS_HEIGHT // rows - _GAP, _LEAST_ROW), _LARGEST_ROW)
        upper = self.header[-1].y + 24
        frames = [
            self._frame(upper + row * (height + _GAP), height, self.limits) for row in range(rows)
        ]
        if np.isfinite(self.losses).any():
            lower = frames[-1].y + height
            frames.append(self._frame(lower + 3 * _GAP, _LOSS_HEIGHT, value_range(self.losses)))
        return tuple(frames)

    def _frame(self, y: int, height: int, ends: tuple[float, float]) -> PlotFrame:
        names = max(text_width(name, _SIZES.tick) for name, _ in self.data.layers)
        left = _SIZES.margin + min(max(names, _LEAST_NAME), _LONGEST_NAME) + 14
        right = _WIDTH - _SIZES.margin - _NUMBER - 14
        return PlotFrame(left, y, right - left, height, self.steps[0], self.steps[-1], *ends)

    def _shapes(self) -> Iterator[Shape]:
        for frame, (_, numbers) in zip(self.frames, self.data.layers, strict=False):
            yield frame.background
            steps, lower, upper, middle = summarize_heads(self.steps, numbers, frame.width)
            yield from band_shapes(frame, steps, lower, upper)
            yield from line_shapes(frame, steps, middle, INK, _LINE)
        for frame in self.frames[len(self.data.layers) :]:
            yield frame.background
            steps, _, _, middle = summarize_heads(self.steps, self.losses[:, None], frame.width)
            yield from line_shapes(frame, steps, middle, INK, _LINE)

    def _names(self) -> Iterator[Text]:
        """What each row is, and at its end what it has come to."""
        rows = [(name, mean_of_heads(numbers[-1:])[0]) for name, numbers in self.data.layers]
        rows += [("loss", loss) for loss in self.losses[-1:]]
        for frame, (name, last) in zip(self.frames, rows, strict=False):
            yield _left_of(frame, shorten(name, _SIZES.tick, _LONGEST_NAME), 0.5)
            if np.isfinite(last):
                end = int(frame.down(np.array([last]))[0])
                lowest = frame.y + frame.height
                y = min(max(end + _CAPITAL // 2, frame.y + _CAPITAL), lowest)
                yield Text(frame.x + frame.width + 14, y, f"{last:.3g}", _SIZES.tick)
        for frame in self.frames[len(self.data.layers) :]:
            yield _left_of(frame, f"{frame.high:.3g}", 0)
            yield _left_of(frame, f"{frame.low:.3g}", 1)

    def _step_ticks(self, foot: int) -> Iterator[tuple[ColorBlock, Text]]:
        frame, font = self.frames[-1], _SIZES.tick
        labels = linear_scale("", self.steps[0], max(self.steps[-1], self.steps[0] + 1)).ticks
        labels = tuple(label for label in labels if label == int(label) <= self.steps[-1])
        widest = max((text_width(f"{label:,.0f}", font) for label in labels), default=0)
        if len(labels) * (widest + font.size) > frame.width:
            labels = labels[::2]
        for label, x in zip(labels, frame.across(np.array(labels)), strict=True):
            yield (
                ColorBlock(round(x) - 1, foot, 2, _SIZES.tick_length, INK),
                page_labels.centred_text(f"{label:,.0f}", round(x), foot + 34, font),
            )

    def _axis_name(self, foot: int) -> Text:
        middle = self.frames[-1].x + self.frames[-1].width // 2
        return page_labels.centred_text("step", middle, foot + 78, _SIZES.axis)


def _left_of(frame: PlotFrame, string: str, share: float) -> Text:
    """At the left of a row, this share of its height from the top."""
    y = frame.y + _CAPITAL + round((frame.height - _CAPITAL) * share)
    return Text(frame.x - 14 - text_width(string, _SIZES.tick), y, string, _SIZES.tick)
