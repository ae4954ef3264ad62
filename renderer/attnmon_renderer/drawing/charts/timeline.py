"""A statistic of all heads over the steps of a run, layer by layer, and the loss beneath.

A row a layer: the band reaches from the lowest head to the highest, the line is their mean, and
the number at its end is where it stands now. Pure: from numbers to a finished PNG.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnmon_renderer.drawing.charts.curves import (
    Numbers,
    PlotFrame,
    band,
    ends,
    line,
    mean,
    summary,
)
from attnmon_renderer.drawing.layout import labels as words
from attnmon_renderer.drawing.layout.font_sizes import FontSizes
from attnmon_renderer.drawing.spec.figure_data import Caption
from attnmon_renderer.drawing.spec.page import ColorBlock, Page, Shape, Text
from attnmon_renderer.drawing.spec.palettes import INK, WEIGHTS
from attnmon_renderer.drawing.spec.scales import linear
from attnmon_renderer.drawing.text.glyphs import shortened, width

_SIZES = FontSizes(1.0)
_WIDTH = 1000
_LEAST_NAME, _LONGEST_NAME, _NUMBER = 60, 260, 84
_ROWS_HEIGHT, _LEAST_ROW, _LARGEST_ROW, _LOSS_HEIGHT = 560, 24, 150, 130
_GAP, _LINE = 8, 2.5
_CAPITAL = words.capital(_SIZES.tick)


@dataclass(frozen=True, slots=True)
class TimelinePicture:
    """What has been recorded so far. A number that is missing or not finite leaves a gap."""

    caption: Caption
    statistic: str
    """Its name: "entropy (of its maximum)"."""
    steps: Sequence[int]
    """Of the captures, rising."""
    layers: tuple[tuple[str, Numbers], ...]
    """(name, [captures, heads]), from the first layer to the last"""
    losses: Sequence[float | None] = ()
    """One a capture; or none at all."""
    low: float | None = None
    """What all rows begin and end at; None is the lowest and the highest number."""
    high: float | None = None

    def __post_init__(self) -> None:
        captures = len(self.steps)
        lengths = {len(numbers) for _, numbers in self.layers}
        if not captures or lengths != {captures} or len(self.losses) not in (0, captures):
            raise ValueError(
                f"{captures} steps, layers of {sorted(lengths)} captures, {len(self.losses)} "
                "losses: give one number a step to each, at least one step, and at least one layer"
            )


def timeline(picture: TimelinePicture) -> Page:
    """Lay out one row for each layer, and one for the loss where there is any."""
    return _Timeline(picture).page()


@dataclass(frozen=True)
class _Timeline:
    picture: TimelinePicture

    def page(self) -> Page:
        foot = self.frames[-1].y + self.frames[-1].height
        ticks = tuple(self._step_ticks(foot))
        return Page(
            _WIDTH,
            foot + 84 + _SIZES.edge,
            WEIGHTS,
            _SIZES.tick_length,
            (),
            (),
            tuple(block for block, _ in ticks),
            (*self.header, *self._names(), *(text for _, text in ticks), self._axis_name(foot)),
            tuple(self._shapes()),
        )

    @cached_property
    def header(self) -> tuple[Text, ...]:
        rows = f"band: all heads, line: their mean, from {self.ends[0]:g} to {self.ends[1]:g}"
        remarks = (f"{self.picture.statistic} · {rows}",)
        return tuple(words.header(self.picture.caption, remarks, _WIDTH, _SIZES))

    @cached_property
    def steps(self) -> Numbers:
        return np.asarray(self.picture.steps, np.float64)

    @cached_property
    def losses(self) -> Numbers:
        given = self.picture.losses
        return np.array([np.nan if loss is None else loss for loss in given], np.float64)

    @cached_property
    def ends(self) -> tuple[float, float]:
        numbers = np.concatenate([layer.ravel() for _, layer in self.picture.layers])
        low, high = ends(numbers)
        return (
            low if self.picture.low is None else self.picture.low,
            high if self.picture.high is None else self.picture.high,
        )

    @cached_property
    def frames(self) -> tuple[PlotFrame, ...]:
        """One a layer, and one for the loss where there is any."""
        rows = len(self.picture.layers)
        height = min(max(_ROWS_HEIGHT // rows - _GAP, _LEAST_ROW), _LARGEST_ROW)
        upper = self.header[-1].y + 24
        frames = [
            self._frame(upper + row * (height + _GAP), height, self.ends) for row in range(rows)
        ]
        if np.isfinite(self.losses).any():
            lower = frames[-1].y + height
            frames.append(self._frame(lower + 3 * _GAP, _LOSS_HEIGHT, ends(self.losses)))
        return tuple(frames)

    def _frame(self, y: int, height: int, ends: tuple[float, float]) -> PlotFrame:
        names = max(width(name, _SIZES.tick) for name, _ in self.picture.layers)
        left = _SIZES.edge + min(max(names, _LEAST_NAME), _LONGEST_NAME) + 14
        right = _WIDTH - _SIZES.edge - _NUMBER - 14
        return PlotFrame(left, y, right - left, height, self.steps[0], self.steps[-1], *ends)

    def _shapes(self) -> Iterator[Shape]:
        for frame, (_, numbers) in zip(self.frames, self.picture.layers, strict=False):
            yield frame.background
            steps, lower, upper, middle = summary(self.steps, numbers, frame.width)
            yield from band(frame, steps, lower, upper)
            yield from line(frame, steps, middle, INK, _LINE)
        for frame in self.frames[len(self.picture.layers) :]:
            yield frame.background
            steps, _, _, middle = summary(self.steps, self.losses[:, None], frame.width)
            yield from line(frame, steps, middle, INK, _LINE)

    def _names(self) -> Iterator[Text]:
        """What each row is, and at its end what it has come to."""
        rows = [(name, mean(numbers[-1:])[0]) for name, numbers in self.picture.layers]
        rows += [("loss", loss) for loss in self.losses[-1:]]
        for frame, (name, last) in zip(self.frames, rows, strict=False):
            yield _left_of(frame, shortened(name, _SIZES.tick, _LONGEST_NAME), 0.5)
            if np.isfinite(last):
                end = int(frame.down(np.array([last]))[0])
                lowest = frame.y + frame.height
                y = min(max(end + _CAPITAL // 2, frame.y + _CAPITAL), lowest)
                yield Text(frame.x + frame.width + 14, y, f"{last:.3g}", _SIZES.tick)
        for frame in self.frames[len(self.picture.layers) :]:
            yield _left_of(frame, f"{frame.high:.3g}", 0)
            yield _left_of(frame, f"{frame.low:.3g}", 1)

    def _step_ticks(self, foot: int) -> Iterator[tuple[ColorBlock, Text]]:
        frame, font = self.frames[-1], _SIZES.tick
        labels = linear("", self.steps[0], max(self.steps[-1], self.steps[0] + 1)).ticks
        labels = tuple(label for label in labels if label == int(label) <= self.steps[-1])
        widest = max((width(f"{label:,.0f}", font) for label in labels), default=0)
        if len(labels) * (widest + font.size) > frame.width:
            labels = labels[::2]
        for label, x in zip(labels, frame.across(np.array(labels)), strict=True):
            yield (
                ColorBlock(round(x) - 1, foot, 2, _SIZES.tick_length, INK),
                words.centred(f"{label:,.0f}", round(x), foot + 34, font),
            )

    def _axis_name(self, foot: int) -> Text:
        middle = self.frames[-1].x + self.frames[-1].width // 2
        return words.centred("step", middle, foot + 78, _SIZES.axis)


def _left_of(frame: PlotFrame, string: str, share: float) -> Text:
    """At the left of a row, this share of its height from the top."""
    y = frame.y + _CAPITAL + round((frame.height - _CAPITAL) * share)
    return Text(frame.x - 14 - width(string, _SIZES.tick), y, string, _SIZES.tick)
