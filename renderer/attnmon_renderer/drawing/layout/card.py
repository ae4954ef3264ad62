"""A page made small: its maps alone, for viewers that show many pictures side by side.

TensorBoard shows pictures on cards some 300 pixels wide, with a name and a step of its own, and
reads every byte of them when it starts. So a card has no caption and no ticks, and one line for
what rows and columns are; a cell is a whole number of pixels, and there are so few cells that the
file is small whatever they hold.
"""

from dataclasses import replace

import numpy as np

from attnmon_renderer.drawing.layout.cell_size import merge_cells, merge_extremes
from attnmon_renderer.drawing.layout.labels import format_number
from attnmon_renderer.drawing.layout.strengths import strongest_marks
from attnmon_renderer.drawing.spec.page import CellMap, ColorBlock, Font, Page, Text
from attnmon_renderer.drawing.spec.palettes import LEVELS
from attnmon_renderer.drawing.spec.scales import Scale
from attnmon_renderer.drawing.text.glyphs import shorten, text_width

WIDTH = 320
"""Pixels that the maps should be wide, side by side."""
MOST_CELLS = 10_000
"""In all maps of a card: each takes about two bytes of the file."""
_LEAST_SIDE, _LARGEST_CELL = 64, 64
"""Pixels of a map's long side, and of a cell."""
_FLATTEST = 4
"""How many times longer than its short side a map may be."""
_FONT = Font(13)
_GAP, _LABEL_HEIGHT = 8, 18
_BAR_WIDTH, _BAR_HEIGHT = LEVELS, 10


def card(page: Page) -> Page:
    """Return the card of a page; the page itself, where it has no maps."""
    if not page.maps:
        return page
    lefts, tops = sorted({area.x for area in page.maps}), sorted({area.y for area in page.maps})
    side = max(_LEAST_SIDE, (WIDTH + _GAP) // len(lefts) - _GAP)
    cells = max(1, int((MOST_CELLS / len(page.maps)) ** 0.5))
    maps = [_fitted(area, side, min(cells, side)) for area in page.maps]
    above = _LABEL_HEIGHT if any(area.label for area in maps) else 0
    column = max(area.width for area in maps) + _GAP
    row = max(area.height for area in maps) + _GAP + above
    placed = tuple(
        replace(area, x=lefts.index(area.x) * column, y=tops.index(area.y) * row + above)
        for area in maps
    )
    foot = len(tops) * row
    blocks, legend = _legend(placed[0].scale, foot)
    axes = _axes(page, foot + 2 * _LABEL_HEIGHT - 4)
    names = tuple(_label(area, column - _GAP) for area in placed if area.label)
    width = max(len(lefts) * column - _GAP, *(_right(text) for text in (*legend, *axes)))
    height = foot + (1 + len(axes)) * _LABEL_HEIGHT
    marks = (mark for area in placed if area.is_marked for mark in strongest_marks(area))
    texts = (*names, *legend, *axes)
    return Page(width, height, page.palette, 0, placed, (), (*marks, *blocks), texts)


def _fitted(area: CellMap, side: int, most: int) -> CellMap:
    """Return a map of at most so many cells a side, its long side of at most `side` pixels."""
    merged = -(-max(area.values.shape) // most)
    values = merge_extremes(area.values, merged, merged)
    pixels = min(_LARGEST_CELL, max(1, side // max(values.shape)))
    least = pixels * max(values.shape) // _FLATTEST
    height, width = (max(pixels, least // cells) for cells in values.shape)
    masked = merge_cells(area.masked, merged, merged, np.logical_and)
    return CellMap(
        area.x, area.y, width, height, values, masked, (), (), area.scale, area.label, area.pixels,
        area.is_marked,
    )  # fmt: skip


def _label(area: CellMap, room: int) -> Text:
    return Text(area.x, area.y - 5, shorten(area.label, _FONT, room), _FONT)


def _legend(scale: Scale, top: int) -> tuple[tuple[ColorBlock, ...], tuple[Text, ...]]:
    """Return a colour bar that lies, with the numbers at its ends and what they are."""
    low, high = format_number(scale.low), format_number(scale.high)
    left, base = text_width(low, _FONT) + _GAP, top + _BAR_HEIGHT
    blocks = tuple(
        ColorBlock(left + level, top, 1, _BAR_HEIGHT, level) for level in range(_BAR_WIDTH)
    )
    right = f"{high}  {scale.name}"
    return blocks, (Text(0, base, low, _FONT), Text(left + _BAR_WIDTH + _GAP, base, right, _FONT))


def _axes(page: Page, base: int) -> tuple[Text, ...]:
    """Return a line that says what runs downwards and what to the right, if that is known."""
    if not page.row_axis:
        return ()
    return (Text(0, base, f"↓ {page.row_axis}  → {page.column_axis}", _FONT),)


def _right(text: Text) -> int:
    return text.x + text_width(text.string, text.font)
