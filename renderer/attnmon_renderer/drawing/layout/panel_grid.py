"""The grid of panels on a page: how large each map is drawn, and where it stands.

The grid is what the maps take, with their labels and the gaps between them; `page_geometry` says
where the grid stands on the page.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from attnmon_renderer.drawing.layout.cell_size import FittedMap, fit_map
from attnmon_renderer.drawing.layout.strengths import key_strengths, query_strengths
from attnmon_renderer.drawing.layout.ticks import Ticks, position_ticks
from attnmon_renderer.drawing.layout.token_ticks import (
    MOST_LABELLED,
    ROOMY_CELL,
    shows_tokens,
    token_ticks,
)
from attnmon_renderer.drawing.spec.panel import Panel
from attnmon_renderer.drawing.text.font_sizes import FontSizes

_SIDE = {1: 640, 2: 420, 3: 320, 4: 256, 5: 230}
"""Pixels that a map's long side should have, by the number of columns."""
_SMALLEST_SIDE = 190
"""The same for more columns."""
_GAP = 58
"""Pixels between columns; labels may extend into half of them."""


@dataclass(frozen=True)
class PlacedPanel:
    """A panel, its map as drawn, and where that map stands in the grid."""

    panel: Panel
    fitted: FittedMap
    x: int
    """Pixels from the grid's left edge to the map's."""
    y: int
    """Pixels from the grid's upper edge to the map's."""
    column_ticks: Ticks
    row_ticks: Ticks
    shows_column_labels: bool
    """False if the panel below has the same column ticks and shows their labels."""
    shows_row_labels: bool
    """False if the leftmost panel has the same row ticks and shows their labels."""


@dataclass(frozen=True)
class PanelGrid:
    """Panels in rows and columns; lengths are in pixels."""

    panels: tuple[Panel, ...]
    columns: int

    @cached_property
    def sizes(self) -> FontSizes:
        """Fonts and lengths, larger on a larger grid."""
        long_side = max(sum(self._widths), sum(self._heights))
        return FontSizes(max(1.0, (long_side / 640) ** 0.5))

    @cached_property
    def width(self) -> int:
        """Width from the left edge of the first column to the right edge of the last."""
        return self._lefts[-1] + self._widths[-1]

    @cached_property
    def height(self) -> int:
        """Height from the first row's labels to the lower edge of the last row's maps."""
        return self._tops[-1] + self._heights[-1]

    @cached_property
    def row_ticks_width(self) -> int:
        """Width of ticks and tick labels left of a map."""
        widest = max(ticks.room for ticks in self._row_ticks)
        return self.sizes.tick_length + self.sizes.tick_gap + widest

    @cached_property
    def column_ticks_height(self) -> int:
        """Height of ticks and tick labels below a map."""
        highest = max(ticks.room for ticks in self._column_ticks)
        return self.sizes.tick_length + self.sizes.tick_gap + highest

    @cached_property
    def label_height(self) -> int:
        """Height of a panel's label above its map; 0 if no panel has one."""
        return self.sizes.px(32) if self._labelled else 0

    @cached_property
    def placed_panels(self) -> tuple[PlacedPanel, ...]:
        """All panels with their places, row by row."""
        return tuple(map(self._placed, range(len(self.panels))))

    def max_label_width(self, placed: PlacedPanel) -> int:
        """Return the width that a panel's label may have."""
        return self._widths[self._lefts.index(placed.x)] + _GAP // 2

    def _placed(self, index: int) -> PlacedPanel:
        row, column = divmod(index, self.columns)
        return PlacedPanel(
            self.panels[index],
            self._fitted[index],
            self._lefts[column],
            self._tops[row],
            self._column_ticks[index],
            self._row_ticks[index],
            shows_column_labels=not self._shared or index + self.columns >= len(self.panels),
            shows_row_labels=not self._shared or column == 0,
        )

    @cached_property
    def _shared(self) -> bool:
        """Whether all panels have the same axes, so that only the outer ones need tick labels."""
        first = self.panels[0]
        return all((p.queries, p.keys) == (first.queries, first.keys) for p in self.panels)

    @cached_property
    def _labelled(self) -> bool:
        return any(panel.label for panel in self.panels)

    @cached_property
    def _side(self) -> int:
        side = _SIDE.get(self.columns, _SMALLEST_SIDE)
        longest = max(len(axis.tokens) for p in self.panels for axis in (p.queries, p.keys))
        if len(self.panels) == 1 and longest <= MOST_LABELLED:
            return max(side, longest * ROOMY_CELL)
        return side

    @cached_property
    def _fitted(self) -> tuple[FittedMap, ...]:
        return tuple(fit_map(panel, self._side) for panel in self.panels)

    @cached_property
    def _widths(self) -> list[int]:
        """Width of each column."""
        columns = [self._fitted[column :: self.columns] for column in range(self.columns)]
        least = int(0.75 * self._side) if self._labelled else 0
        return [max(least, *(fit.columns.pixels for fit in column)) for column in columns]

    @cached_property
    def _heights(self) -> list[int]:
        """Height of each row's maps."""
        starts = range(0, len(self.panels), self.columns)
        rows = [self._fitted[start : start + self.columns] for start in starts]
        return [max(fit.rows.pixels for fit in row) for row in rows]

    @cached_property
    def _lefts(self) -> list[int]:
        """Left edge of each column."""
        gap = _GAP if self._shared else _GAP // 2 + self.row_ticks_width
        return list(accumulate((w + gap for w in self._widths[:-1]), initial=0))

    @cached_property
    def _tops(self) -> list[int]:
        """Upper edge of each row's maps."""
        gap = self.label_height + (0 if self._shared else self.column_ticks_height)
        gap += self.sizes.px(14)
        return list(accumulate((h + gap for h in self._heights[:-1]), initial=self.label_height))

    @cached_property
    def _column_ticks(self) -> tuple[Ticks, ...]:
        return self._ticks_of_all(across=True)

    @cached_property
    def _row_ticks(self) -> tuple[Ticks, ...]:
        return self._ticks_of_all(across=False)

    def _ticks_of_all(self, across: bool) -> tuple[Ticks, ...]:
        if self._shared:
            return (self._ticks(0, across),) * len(self.panels)
        return tuple(self._ticks(index, across) for index in range(len(self.panels)))

    def _ticks(self, index: int, across: bool) -> Ticks:
        side = self._fitted[index].columns if across else self._fitted[index].rows
        if not shows_tokens(side):
            return position_ticks(side, self.sizes.tick, across)
        of_panels = self.panels if self._shared else self.panels[index : index + 1]
        tell = key_strengths if across else query_strengths
        return token_ticks(side, self.sizes.tick, across, lambda: tell(of_panels))


def column_count(panels: int) -> int:
    """Return the number of columns that leaves the fewest places of the last row empty.

    Only grids that are at least as wide as high, and at most about twice as wide, are considered.
    """
    candidates = range(_root(panels), _root(2 * panels) + 1)
    return min(candidates, key=lambda columns: (-panels % columns, columns))


def _root(number: int) -> int:
    """Return the least integer whose square is at least `number`."""
    return next(n for n in range(1, number + 1) if n * n >= number)
