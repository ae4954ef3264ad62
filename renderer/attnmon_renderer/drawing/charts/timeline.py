"""The timeline chart: a statistic of all heads over the steps of a run, and the loss beneath.

There is a row for each layer. Its band reaches from the lowest head to the highest, its line is
the mean of the heads, and the number at its end is the last mean. Alerts are bars in their
rule's lane above, from when they fired until they were over, and marks in the rows concerned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnmon_renderer.drawing.charts.curves import PlotFrame, value_range
from attnmon_renderer.drawing.charts.timeline_rows import LOSS, TimelineRows
from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.spec.figure_data import TimelineData
from attnmon_renderer.drawing.spec.page import ColorBlock, Page, Text
from attnmon_renderer.drawing.spec.palettes import ALERT_PALETTE, INK
from attnmon_renderer.drawing.spec.scales import linear_scale
from attnmon_renderer.drawing.text.font_sizes import FontSizes
from attnmon_renderer.drawing.text.glyphs import shorten, text_width

_SIZES = FontSizes(1.0)
_WIDTH = 1000
_LEAST_NAME_WIDTH, _MOST_NAME_WIDTH, _NUMBER_WIDTH = 60, 260, 84
_GAP = 14
"""Pixels between a frame and the text beside it."""
_CAPITAL_HEIGHT = labels.capital_height(_SIZES.tick)


def timeline(data: TimelineData) -> Page:
    """Lay out one row for each layer, and one for the loss if it is known."""
    return _TimelinePage(data).page()


@dataclass(frozen=True)
class _TimelinePage:
    data: TimelineData

    def page(self) -> Page:
        bottom = self.rows.last_frame.bottom
        ticks = tuple(self._step_ticks(bottom))
        legend = tuple(self.rows.lanes.legend(_SIZES))
        return Page(
            _WIDTH,
            bottom + 84 + _SIZES.margin,
            ALERT_PALETTE,
            _SIZES.tick_length,
            (),
            (),
            (*self.rows.blocks(), *(block for block, _ in (*legend, *ticks))),
            (
                *self.header,
                *self._lane_texts(),
                *self._row_texts(),
                *(text for _, text in (*legend, *ticks)),
                self._axis_title(bottom),
            ),
            tuple(self.rows.shapes()),
        )

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The numbers at the lower and at the upper edge of each layer's row."""
        low, high = value_range(
            np.concatenate(
                [ends for _, heads in self.data.layers for ends in (heads.low, heads.high)]
            )
        )
        return (
            low if self.data.low is None else self.data.low,
            high if self.data.high is None else self.data.high,
        )

    @cached_property
    def header(self) -> tuple[Text, ...]:
        low, high = self.limits
        rows = f"band: all heads, line: their mean, from {low:g} to {high:g}"
        remarks = [f"{self.data.statistic} · {rows}"]
        if self.data.alerts:
            remarks.append("colours: alerts, bars while they last and marks where they fired")
        return tuple(labels.header_texts(self.data.caption, remarks, _WIDTH, _SIZES))

    @cached_property
    def rows(self) -> TimelineRows:
        names = [name for name, _ in self.data.layers] + [span.rule for span in self.data.alerts]
        widest = max(text_width(name, _SIZES.tick) for name in names)
        left = _SIZES.margin + min(max(widest, _LEAST_NAME_WIDTH), _MOST_NAME_WIDTH) + _GAP
        right = _WIDTH - _SIZES.margin - _NUMBER_WIDTH - _GAP
        return TimelineRows(self.data, left, right, self.header[-1].y + 24, self.limits)

    def _lane_texts(self) -> Iterator[Text]:
        """Yield the name of each rule that has a lane."""
        lanes = self.rows.lanes
        for rule in lanes.rules:
            name = shorten(rule, _SIZES.tick, _MOST_NAME_WIDTH)
            x = lanes.left - _GAP - text_width(name, _SIZES.tick)
            yield Text(x, lanes.middle(rule) + _CAPITAL_HEIGHT // 2, name, _SIZES.tick)

    def _row_texts(self) -> Iterator[Text]:
        """Yield each row's name and last number, and the ends of the loss."""
        for frame, (name, heads) in zip(self.rows.layer_frames, self.data.layers, strict=True):
            yield from _name_and_number(frame, name, heads.mean[-1])
        if loss_frame := self.rows.loss_frame:
            yield from _name_and_number(loss_frame, LOSS, self.rows.losses[-1])
            yield _left_of(loss_frame, f"{loss_frame.high:.3g}", 0)
            yield _left_of(loss_frame, f"{loss_frame.low:.3g}", 1)

    def _step_ticks(self, bottom: int) -> Iterator[tuple[ColorBlock, Text]]:
        """Yield the ticks below the last row, whose frame ends at `bottom`, with their steps."""
        frame, font = self.rows.last_frame, _SIZES.tick
        first, last = self.data.steps[0], self.data.steps[-1]
        ticks = linear_scale("", first, max(last, first + 1)).ticks
        steps = tuple(tick for tick in ticks if tick == int(tick) <= last)
        widest = max((text_width(f"{step:,.0f}", font) for step in steps), default=0)
        if len(steps) * (widest + font.size) > frame.width:
            steps = steps[::2]
        for step, x in zip(steps, frame.across(np.array(steps)), strict=True):
            yield (
                ColorBlock(round(x) - 1, bottom, 2, _SIZES.tick_length, INK),
                labels.centred_text(f"{step:,.0f}", round(x), bottom + 34, font),
            )

    def _axis_title(self, bottom: int) -> Text:
        middle = self.rows.left + (self.rows.right - self.rows.left) // 2
        return labels.centred_text("step", middle, bottom + 78, _SIZES.axis)


def _name_and_number(frame: PlotFrame, name: str, number: float) -> Iterator[Text]:
    """Yield a row's name at its left, and at its right the number, as high as it stands."""
    yield _left_of(frame, shorten(name, _SIZES.tick, _MOST_NAME_WIDTH), 0.5)
    if np.isfinite(number):
        end = int(frame.down(np.array([number]))[0])
        y = min(max(end + _CAPITAL_HEIGHT // 2, frame.y + _CAPITAL_HEIGHT), frame.bottom)
        yield Text(frame.x + frame.width + _GAP, y, f"{number:.3g}", _SIZES.tick)


def _left_of(frame: PlotFrame, string: str, fraction: float) -> Text:
    """Return text at the left of a row, at a fraction of its height from the top."""
    y = frame.y + _CAPITAL_HEIGHT + round((frame.height - _CAPITAL_HEIGHT) * fraction)
    return Text(frame.x - _GAP - text_width(string, _SIZES.tick), y, string, _SIZES.tick)
