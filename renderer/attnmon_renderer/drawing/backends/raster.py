"""A page to pixels without matplotlib's artists, which take many times as long."""

import numpy as np

from attnmon_renderer.drawing.backends.antialiased import rasterize_shapes
from attnmon_renderer.drawing.spec import palettes
from attnmon_renderer.drawing.spec.page import TICK_WIDTH, CellMap, ColorBar, Page
from attnmon_renderer.drawing.spec.palettes import Indices
from attnmon_renderer.drawing.spec.panel import Pixels
from attnmon_renderer.drawing.text.glyphs import draw_text


def rasterize(page: Page, canvas: Indices | None = None) -> Indices:
    """Return the page as [rows, columns] palette indices, on this canvas if one is given."""
    if canvas is None:
        canvas = np.empty((page.height, page.width), np.uint8)
    rasterize_shapes(page, canvas)
    for area in page.maps:
        _paste_map(canvas, area)
        _draw_map_ticks(canvas, area, page.tick_length)
    for bar in page.bars:
        _paste_bar(canvas, bar)
        _draw_bar_ticks(canvas, bar, page.tick_length)
    for block in page.blocks:
        canvas[block.y : block.y + block.height, block.x : block.x + block.width] = block.index
    for text in page.texts:
        draw_text(canvas, text, page.palette)
    return canvas


def colours(page: Page, canvas: Indices) -> Pixels:
    """Return [rows, columns, 3] colours of a rasterized page, with the images in its maps."""
    shown = page.palette.colours[canvas]
    for area in page.maps:
        if area.pixels is not None:
            target = shown[area.y : area.y + area.height, area.x : area.x + area.width]
            target[:] = area.drawn_pixels()
    return shown


def _paste_map(canvas: Indices, area: CellMap) -> None:
    cells = area.scale.indices(area.values, area.masked).repeat(area.cell_width, axis=1)
    target = canvas[area.y : area.y + area.height, area.x : area.x + area.width]
    for line in range(area.cell_height):
        target[line :: area.cell_height] = cells


def _draw_map_ticks(canvas: Indices, area: CellMap, length: int) -> None:
    below, left = area.y + area.height, area.x - length
    for offset in area.column_ticks:
        x = area.x + offset - TICK_WIDTH // 2
        canvas[below : below + length, x : x + TICK_WIDTH] = palettes.INK
    for offset in area.row_ticks:
        y = area.y + offset - TICK_WIDTH // 2
        canvas[y : y + TICK_WIDTH, left : area.x] = palettes.INK


def _paste_bar(canvas: Indices, bar: ColorBar) -> None:
    upwards = np.arange(palettes.LEVELS - 1, -1, -1).repeat(bar.height // palettes.LEVELS)
    canvas[bar.y : bar.y + bar.height, bar.x : bar.x + bar.width] = upwards[:, None]


def _draw_bar_ticks(canvas: Indices, bar: ColorBar, length: int) -> None:
    right = bar.x + bar.width
    for tick in bar.scale.ticks:
        y = bar.y + bar.offset(bar.scale.fraction(tick)) - TICK_WIDTH // 2
        canvas[y : y + TICK_WIDTH, right : right + length] = palettes.INK
