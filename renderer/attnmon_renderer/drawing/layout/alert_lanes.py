"""The alerts of a timeline, in pixels: a lane for each rule, marks in rows, and their colours."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from attnmon.link.records.alert import SEVERITIES, Severity
from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.spec.figure_data import AlertSpan
from attnmon_renderer.drawing.spec.page import ColorBlock, Text
from attnmon_renderer.drawing.spec.palettes import SEVERITY_COLOURS
from attnmon_renderer.drawing.text.font_sizes import FontSizes
from attnmon_renderer.drawing.text.glyphs import text_width

_HEIGHT, _GAP = 22, 8
_LEAST_BAR, _MARK_WIDTH = 6, 3
_SWATCH, _SWATCH_GAP, _LEGEND_HEIGHT = 18, 9, 34
"""Pixels."""


@dataclass(frozen=True)
class AlertLanes:
    """When each rule had an alert that fired; lengths are in pixels."""

    spans: Sequence[AlertSpan]
    left: int
    """Left edge of the lanes."""
    right: int
    """Right edge of the lanes."""
    top: int
    """Upper edge of the legend above the first lane."""
    across: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """Returns the x of steps."""

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that have a lane, from the first that fired."""
        in_order = sorted(self.spans, key=lambda span: span.first)
        return tuple(dict.fromkeys(span.rule for span in in_order))

    @property
    def height(self) -> int:
        """Height of the legend and all lanes, with the gap below them; 0 without an alert."""
        lanes = len(self.rules)
        return _LEGEND_HEIGHT + lanes * (_HEIGHT + _GAP) + 2 * _GAP if lanes else 0

    def middle(self, rule: str) -> int:
        """Return the middle of a rule's lane."""
        return self._lane_top(rule) + _HEIGHT // 2

    def bars(self) -> Iterator[ColorBlock]:
        """Yield bars in each rule's lane while it had an alert, coloured by the most serious."""
        for rule in self.rules:
            found = [span for span in self.spans if span.rule == rule]
            stretches = [(span.severity, *self._ends(span)) for span in found]
            yield from self._painted(stretches, self._lane_top(rule), _HEIGHT)

    def marks(self, row: str, y: int, height: int) -> Iterator[ColorBlock]:
        """Yield a mark in a row, at (y, height), where an alert about it fired or got worse."""
        found = [span for span in self.spans if row in span.rows]
        starts = [(span.severity, self._ends(span)[0]) for span in found]
        stretches = [(severity, x, x + _MARK_WIDTH) for severity, x in starts]
        yield from self._painted(stretches, y, height)

    def legend(self, sizes: FontSizes) -> Iterator[tuple[ColorBlock, Text]]:
        """Yield a swatch and its word for each severity that occurs, in one line."""
        x = self.left
        baseline = self.top + labels.capital_height(sizes.tick)
        upper = self.top + (labels.capital_height(sizes.tick) - _SWATCH) // 2
        for severity in SEVERITIES:
            if all(span.severity != severity for span in self.spans):
                continue
            block = ColorBlock(x, upper, _SWATCH, _SWATCH, SEVERITY_COLOURS[severity])
            yield block, Text(x + _SWATCH + _SWATCH_GAP, baseline, severity, sizes.tick)
            x += _SWATCH + _SWATCH_GAP + text_width(severity, sizes.tick) + sizes.tick.size

    def _lane_top(self, rule: str) -> int:
        return self.top + _LEGEND_HEIGHT + self.rules.index(rule) * (_HEIGHT + _GAP)

    def _ends(self, span: AlertSpan) -> tuple[int, int]:
        first, last = np.rint(self.across(np.array([span.first, span.last], np.float64)))
        left = min(int(first), self.right - _LEAST_BAR)
        return left, max(int(last), left + _LEAST_BAR)

    def _painted(
        self, stretches: Iterable[tuple[Severity, int, int]], y: int, height: int
    ) -> Iterator[ColorBlock]:
        """Yield blocks that do not overlap: at each pixel the most serious stretch."""
        ranks = np.full(self.right - self.left, -1)
        for severity, left, right in stretches:
            part = ranks[max(0, left - self.left) : right - self.left]
            np.maximum(part, SEVERITIES.index(severity), out=part)
        edges = np.flatnonzero(np.diff(ranks, prepend=-1, append=-1))
        for start, end in pairwise(edges):
            if ranks[start] >= 0:
                colour = SEVERITY_COLOURS[SEVERITIES[ranks[start]]]
                yield ColorBlock(self.left + int(start), y, int(end - start), height, colour)
