"""The page of a figure that consists of panels.

The maps' cells are whole pixels, and everything else is laid out around them. Fonts grow with the
page, so that a figure remains legible when it is shrunk to a thumbnail.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.layout.page_geometry import PageGeometry
from attnmon_renderer.drawing.layout.page_notes import legend_meanings, remarks
from attnmon_renderer.drawing.layout.panel_grid import PanelGrid, PlacedPanel
from attnmon_renderer.drawing.spec.page import CellMap, Page, Text
from attnmon_renderer.drawing.spec.panel import Caption, Panel
from attnmon_renderer.drawing.spec.scales import Scale


@dataclass(frozen=True)
class PanelPageOptions:
    """What only some charts need on their page."""

    masked_meaning: str = "masked"
    """What the legend calls masked cells."""
    mark_meaning: str = ""
    """What the legend calls the marks on the maps; empty if there are none."""
    headroom: int = 0
    """Free pixels above the maps, on a page of unit 1."""


def panel_page(
    caption: Caption,
    panels: tuple[Panel, ...],
    columns: int,
    scale: Scale,
    options: PanelPageOptions | None = None,
) -> Page:
    """Lay out the panels in this many columns, on one colour scale."""
    options = options or PanelPageOptions()
    grid = PanelGrid(panels, columns)
    notes = tuple(remarks(grid.placed_panels, scale))
    meanings = legend_meanings(panels, scale, options.masked_meaning, options.mark_meaning)
    geometry = PageGeometry(grid, scale, caption, notes, meanings, options.headroom)
    legend = tuple(labels.legend_entries(meanings, geometry.bar.x, geometry.legend_top, grid.sizes))
    axes = _axis_names(grid)
    lowest = [geometry.tick_labels_bottom + grid.sizes.px(40), *(text.y for _, text in legend)]
    return Page(
        geometry.width,
        max(lowest) + grid.sizes.margin,
        scale.palette,
        grid.sizes.tick_length,
        tuple(_cell_map(placed, geometry) for placed in grid.placed_panels),
        (geometry.bar,),
        tuple(block for block, _ in legend),
        (
            *geometry.header,
            *labels.panel_texts(grid, geometry.left, geometry.top),
            *_axis_titles(geometry, *axes),
            *labels.color_bar_texts(geometry.bar, grid.sizes),
            *(text for _, text in legend),
        ),
        row_axis=axes[0],
        column_axis=axes[1],
    )


def _cell_map(placed: PlacedPanel, geometry: PageGeometry) -> CellMap:
    fitted = placed.fitted
    return CellMap(
        geometry.left + placed.x,
        geometry.top + placed.y,
        fitted.columns.cell_pixels,
        fitted.rows.cell_pixels,
        fitted.values,
        fitted.masked,
        placed.column_ticks.offsets,
        placed.row_ticks.offsets,
        geometry.scale,
        placed.panel.label,
    )


def _axis_names(grid: PanelGrid) -> tuple[str, str]:
    """Return what the rows and the columns of the maps are."""
    first = grid.placed_panels[0]
    rows = labels.axis_title(first.panel.queries, "query", first.row_ticks)
    return rows, labels.axis_title(first.panel.keys, "key", first.column_ticks)


def _axis_titles(geometry: PageGeometry, rows: str, columns: str) -> Iterator[Text]:
    """Yield the titles of the queries, left of the grid, and of the keys, below it."""
    grid, sizes = geometry.grid, geometry.grid.sizes
    middle_y = geometry.top + (grid.label_height + grid.height) // 2
    x = geometry.left - grid.row_ticks_width - sizes.px(14)
    yield labels.upright_text(rows, x, middle_y, sizes.axis)
    middle_x = geometry.left + grid.width // 2
    y = geometry.tick_labels_bottom + sizes.px(34)
    yield labels.centred_text(columns, middle_x, y, sizes.axis)
