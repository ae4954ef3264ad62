"""Panels in rows and columns: how large each is drawn, and where it stands in the body.

The body is what the maps take, with their labels and what stands between them; the page around it
is `sheet`'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from attnmon_renderer.drawing.layout.cell_size import FittedMap, MapSide, fit_map
from attnmon_renderer.drawing.layout.font_sizes import FontSizes
from attnmon_renderer.drawing.layout.ticks import Ticks, place_ticks
from attnmon_renderer.drawing.spec.panel import Panel

_SIDE = {1: 640, 2: 420, 3: 320, 4: 256, 5: 230}
"""Pixels a map should measure, by the number of columns."""
_SMALLEST_SIDE = 190
_GAP = 58
"""Pixels between columns, where labels may run on."""


@dataclass(frozen=True)
class PlacedPanel:
    """One panel and the upper left corner of its map, from that of the body."""

    panel: Panel
    fitted: FittedMap
    x: int
    y: int
    column_ticks: Ticks
    row_ticks: Ticks
    shows_column_labels: bool
    """The ticks have labels; elsewhere they are those of the panel below."""
    shows_row_labels: bool


@dataclass(frozen=True)
class PanelGrid:
    panels: tuple[Panel, ...]
    columns: int

    @cached_property
    def sizes(self) -> FontSizes:
        long_side = max(sum(self._widths), sum(self._heights))
        return FontSizes(max(1.0, (long_side / 640) ** 0.5))

    @cached_property
    def width(self) -> int:
        return self._lefts[-1] + self._widths[-1]

    @cached_property
    def height(self) -> int:
        return self._tops[-1] + self._heights[-1]

    @cached_property
    def row_ticks_width(self) -> int:
        """Pixels that ticks and their labels take left of a map."""
        widest = max(side.widest for side in self._row_ticks)
        return self.sizes.tick_length + self.sizes.tick_gap + widest

    @cached_property
    def column_ticks_height(self) -> int:
        highest = max(t.widest if t.tokens else t.font.size for t in self._column_ticks)
        return self.sizes.tick_length + self.sizes.tick_gap + highest

    def places(self) -> Iterator[PlacedPanel]:
        for index, (panel, fit) in enumerate(zip(self.panels, self._fitted, strict=True)):
            row, column = divmod(index, self.columns)
            yield PlacedPanel(
                panel,
                fit,
                self._lefts[column],
                self._tops[row],
                self._column_ticks[index],
                self._row_ticks[index],
                shows_column_labels=not self._shared or index + self.columns >= len(self.panels),
                shows_row_labels=not self._shared or column == 0,
            )

    def max_label_width(self, place: PlacedPanel) -> int:
        """Pixels that a panel's label may take."""
        return self._widths[self._lefts.index(place.x)] + _GAP // 2

    @cached_property
    def _shared(self) -> bool:
        """All panels have the same axes: only those at the edges need say so."""
        first = self.panels[0]
        return all((p.queries, p.keys) == (first.queries, first.keys) for p in self.panels)

    @cached_property
    def _labelled(self) -> bool:
        return any(panel.label for panel in self.panels)

    @cached_property
    def _side(self) -> int:
        return _SIDE.get(self.columns, _SMALLEST_SIDE)

    @cached_property
    def _fitted(self) -> tuple[FittedMap, ...]:
        return tuple(fit_map(panel, self._side) for panel in self.panels)

    @cached_property
    def _widths(self) -> list[int]:
        columns = [self._fitted[column :: self.columns] for column in range(self.columns)]
        least = int(0.75 * self._side) if self._labelled else 0
        return [max(least, *(fit.columns.pixels for fit in column)) for column in columns]

    @cached_property
    def _heights(self) -> list[int]:
        starts = range(0, len(self.panels), self.columns)
        rows = [self._fitted[start : start + self.columns] for start in starts]
        return [max(fit.rows.pixels for fit in row) for row in rows]

    @cached_property
    def _lefts(self) -> list[int]:
        gap = _GAP if self._shared else _GAP // 2 + self.row_ticks_width
        return list(accumulate((w + gap for w in self._widths[:-1]), initial=0))

    @cached_property
    def label_height(self) -> int:
        """Pixels above a map for its label."""
        return self.sizes.px(32) if self._labelled else 0

    @cached_property
    def _tops(self) -> list[int]:
        gap = self.label_height + (0 if self._shared else self.column_ticks_height)
        gap += self.sizes.px(14)
        return list(accumulate((h + gap for h in self._heights[:-1]), initial=self.label_height))

    @cached_property
    def _column_ticks(self) -> tuple[Ticks, ...]:
        return self._ticks([fit.columns for fit in self._fitted], across=True)

    @cached_property
    def _row_ticks(self) -> tuple[Ticks, ...]:
        return self._ticks([fit.rows for fit in self._fitted], across=False)

    def _ticks(self, sides: Sequence[MapSide], across: bool) -> tuple[Ticks, ...]:
        if self._shared:
            return (place_ticks(sides[0], self.sizes.tick, across),) * len(sides)
        return tuple(place_ticks(side, self.sizes.tick, across) for side in sides)


def column_count(panels: int) -> int:
    """Columns that leave the fewest places of the last row empty, on a page wider than high."""
    candidates = range(_root(panels), _root(2 * panels) + 1)
    return min(candidates, key=lambda columns: (-panels % columns, columns))


def _root(number: int) -> int:
    """The least integer whose square is at least `number`."""
    return next(n for n in range(1, number + 1) if n * n >= number)
