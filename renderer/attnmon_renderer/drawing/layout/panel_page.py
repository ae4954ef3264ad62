"""Panels to a page: the maps' cells are whole pixels, and everything else is laid around them.

Letters grow with the page, so that a picture remains legible when it is shrunk to a thumbnail.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.layout.panel_grid import PanelGrid, PlacedPanel
from attnmon_renderer.drawing.spec import palettes
from attnmon_renderer.drawing.spec.page import CellMap, ColorBar, ColorBlock, Page, Text
from attnmon_renderer.drawing.spec.panel import Caption, Panel
from attnmon_renderer.drawing.spec.scales import Scale
from attnmon_renderer.drawing.text.glyphs import text_width

_NARROWEST = 760
_BAR_GAP, _BAR_WIDTH = 34, 30
_LEAST_HEIGHT = 4 * palettes.LEVELS
"""Of the colour bar, in pixels."""


@dataclass(frozen=True)
class PanelPageOptions:
    """What a kind of picture has that others have not."""

    masked: str = "masked"
    """What the grey means."""
    marks: str = ""
    """What the marks mean that it puts on its maps."""
    headroom: int = 0
    """Pixels that it needs above the maps, on a page of unit 1."""


def panel_page(
    caption: Caption,
    panels: tuple[Panel, ...],
    columns: int,
    scale: Scale,
    extras: PanelPageOptions | None = None,
) -> Page:
    """The page of all panels, in so many columns, on one colour scale."""
    return _PanelPage(
        caption, PanelGrid(panels, columns), scale, extras or PanelPageOptions()
    ).page()


@dataclass(frozen=True)
class _PanelPage:
    caption: Caption
    body: PanelGrid
    scale: Scale
    extras: PanelPageOptions

    def page(self) -> Page:
        sizes = self.body.sizes
        legend = tuple(self._legend())
        return Page(
            self.width,
            max([self.foot + sizes.px(40), *(text.y for _, text in legend)]) + sizes.margin,
            self.scale.palette,
            sizes.tick_length,
            tuple(self._map(place) for place in self.places),
            (self.bar,),
            tuple(block for block, _ in legend),
            (*self.header, *self._body_texts(), *self._bar_texts(), *(t for _, t in legend)),
        )

    @cached_property
    def places(self) -> tuple[PlacedPanel, ...]:
        return tuple(self.body.places())

    @cached_property
    def not_finite(self) -> int:
        """Cells of all panels that are neither a number nor masked."""
        panels = self.body.panels
        return sum(int(np.sum(~(np.isfinite(p.values) | p.masked))) for p in panels)

    @cached_property
    def beyond(self) -> int:
        """Cells of all panels that have the colour of the scale's end and are more than that."""
        end = self.scale.high * (1 + 1e-5)  # a float32 is a little more than what it stands for
        return sum(
            int(np.sum((np.abs(p.values) > end) & np.isfinite(p.values) & ~p.masked))
            for p in self.body.panels
        )

    @cached_property
    def signs(self) -> tuple[tuple[str, int], ...]:
        """What the colours mean that are not on the bar."""
        masked = any(panel.masked.any() for panel in self.body.panels)
        marks = self.extras.marks
        return (
            *([(marks, palettes.MARK)] if marks else []),
            *([(self.extras.masked, self.scale.palette.masked_index)] if masked else []),
            *([("not finite", palettes.NOT_FINITE)] if self.not_finite else []),
        )

    @cached_property
    def header(self) -> tuple[Text, ...]:
        return tuple(
            labels.header_texts(self.caption, self._remarks(), self.width, self.body.sizes)
        )

    @cached_property
    def upper(self) -> int:
        """Where the body begins, in the middle of what a colour bar needs at least."""
        spare = max(0, _LEAST_HEIGHT - self.body.height)
        gap = self.body.sizes.px(24 + self.extras.headroom)
        return self.header[-1].y + gap + spare // 2

    @cached_property
    def foot(self) -> int:
        """Where the labels of the lowest ticks end."""
        return self.upper + self.body.height + self.body.column_ticks_height

    @cached_property
    def _margins(self) -> tuple[int, int]:
        sizes = self.body.sizes
        left = sizes.margin + sizes.axis.size + sizes.px(14) + self.body.row_ticks_width
        numbers = max(
            text_width(labels.format_number(tick), sizes.tick) for tick in self.scale.ticks
        )
        beside = sizes.tick_length + sizes.tick_gap + numbers + sizes.px(14) + sizes.axis.size
        bar = sizes.px(_BAR_WIDTH) + beside
        legend = labels.legend_width([meaning for meaning, _ in self.signs], sizes)
        return left, sizes.px(_BAR_GAP) + max(bar, legend) + sizes.margin

    @cached_property
    def width(self) -> int:
        content = sum(self._margins) + self.body.width
        return max(content, self.body.sizes.px(_NARROWEST))

    @cached_property
    def left(self) -> int:
        left, right = self._margins
        return left + (self.width - left - right - self.body.width) // 2

    @cached_property
    def bar(self) -> ColorBar:
        sizes = self.body.sizes
        beside = self.body.height - self.body.label_height
        height = max(_LEAST_HEIGHT, beside // palettes.LEVELS * palettes.LEVELS)
        x = self.left + self.body.width + sizes.px(_BAR_GAP)
        y = self.upper + self.body.label_height + (beside - height) // 2
        return ColorBar(x, y, sizes.px(_BAR_WIDTH), height, self.scale)

    def _map(self, place: PlacedPanel) -> CellMap:
        return CellMap(
            self.left + place.x,
            self.upper + place.y,
            place.fitted.columns.cell_pixels,
            place.fitted.rows.cell_pixels,
            place.fitted.values,
            place.fitted.masked,
            place.column_ticks.offsets,
            place.row_ticks.offsets,
            self.scale,
        )

    def _remarks(self) -> Iterator[str]:
        """What drawing itself did to the values, and what in them is no number."""
        merged = {
            (p.fitted.rows.cells_merged, p.fitted.columns.cells_merged) for p in self.places
        } - {(1, 1)}
        for rows, columns in sorted(merged):
            yield f"each cell drawn is the largest of {rows}×{columns}"
        if self.beyond:
            yield f"{self.beyond:,} cells are beyond the colour scale"
        if self.not_finite:
            yield f"{self.not_finite:,} cells are not finite"

    def _body_texts(self) -> Iterator[Text]:
        sizes, body = self.body.sizes, self.body
        yield from labels.panel_texts(self.places, self.left, self.upper, body)
        first = self.places[0]
        rows = labels.axis_title(first.panel.queries, "query", first.row_ticks)
        columns = labels.axis_title(first.panel.keys, "key", first.column_ticks)
        middle_y = self.upper + (body.label_height + body.height) // 2
        x = self.left - body.row_ticks_width - sizes.px(14)
        yield labels.upright_text(rows, x, middle_y, sizes.axis)
        middle_x = self.left + body.width // 2
        yield labels.centred_text(columns, middle_x, self.foot + sizes.px(34), sizes.axis)

    def _bar_texts(self) -> Iterator[Text]:
        return labels.color_bar_texts(self.bar, self.body.sizes)

    def _legend(self) -> Iterator[tuple[ColorBlock, Text]]:
        below = max(self.upper + self.body.height, self.bar.y + self.bar.height)
        return labels.legend_entries(self.signs, self.bar.x, below, self.body.sizes)
