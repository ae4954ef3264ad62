"""Text to pixels, drawn by matplotlib in pieces that are cached.

A line is put together from pieces: each digit is one, and so is each run of other characters.
Captions of successive steps differ only in their digits, so almost every line consists of pieces
that were drawn before. The result is what matplotlib would draw for the whole line. A short line,
such as a number at a tick, is one piece.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg

from attnmon_renderer.drawing.spec.page import Font, Text
from attnmon_renderer.drawing.spec.palettes import INK, WHITE, Indices
from attnmon_renderer.drawing.text.fonts import drawable, font_properties
from attnmon_renderer.drawing.text.rc_defaults import text_defaults

POINTS_PER_INCH = 72
"""Resolution at which a point, matplotlib's unit of font sizes and lines, is one pixel."""

_AGG: Any = RendererAgg  # has no type annotations

_PIECE = re.compile(r"\d|\D+")
_SHORT = 4
"""The most characters of a line that is one piece."""
_GRID = 64
"""FreeType places outlines on a grid of 1/64 pixel."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """A drawn piece, cropped to its ink."""

    image: Indices
    """[rows, columns] greys"""
    right: int
    """Pixels from the start of the baseline to the left edge of the image."""
    down: int
    """Pixels from the baseline down to the upper edge of the image; negative above it."""


@lru_cache(maxsize=1)
def _ruler() -> Any:
    return _AGG(1, 1, POINTS_PER_INCH)


def _measure(string: str, font: Font) -> float:
    with text_defaults():
        extent = _ruler().get_text_width_height_descent(string, font_properties(font), False)
    return float(extent[0])


@lru_cache(maxsize=4096)
def _advance(piece: str, font: Font) -> float:
    """Return the pixels from the start of a piece to the start of the next piece."""
    return _measure(f"0{piece}0", font) - _measure("00", font)


@lru_cache(maxsize=256)
def text_width(string: str, font: Font) -> int:
    """Return the width of the string in one line, in whole pixels."""
    return int(np.ceil(sum(_advance(piece, font) for piece in _pieces(drawable(string)))))


def _pieces(string: str) -> list[str]:
    return [string] if len(string) <= _SHORT else _PIECE.findall(string)


@lru_cache(maxsize=2048)
def _draw_piece(piece: str, font: Font, upright: bool, sixty_fourths: int) -> Glyphs | None:
    """Draw a piece, shifted right by 1/64 pixels; None if it has no ink."""
    room = 2 * font.size
    length = int(_measure(piece, font)) + 2 * room
    columns, rows = (2 * room, length) if upright else (length, 2 * room)
    x, y = room + sixty_fourths / _GRID, rows - room
    with text_defaults():
        renderer = _AGG(columns, rows, POINTS_PER_INCH)
        image = np.asarray(renderer.buffer_rgba())
        image[:] = WHITE
        context = renderer.new_gc()
        context.set_foreground((INK / WHITE, INK / WHITE, INK / WHITE, 1.0), isRGBA=True)
        renderer.draw_text(context, x, y, piece, font_properties(font), 90 if upright else 0)
    return _crop(image[:, :, 0], room, y)


def _crop(image: Indices, x: int, y: int) -> Glyphs | None:
    """Crop the image of a piece whose baseline starts at (x, y)."""
    inked = image < WHITE
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return None
    first_row, first_column = int(rows[0]), int(columns[0])
    letters = image[first_row : rows[-1] + 1, first_column : columns[-1] + 1].copy()
    return Glyphs(letters, first_column - x, first_row - y)


def draw_text(canvas: Indices, text: Text) -> None:
    """Draw one line of text on the [rows, columns] canvas; parts beyond its edges are cut off."""
    string = drawable(text.string)
    if text.upright:
        _stamp(canvas, _draw_piece(string, text.font, True, 0), text.x, text.y)
        return
    pen = 0.0
    for piece in _pieces(string):
        whole, sixty_fourths = divmod(round(pen * _GRID), _GRID)
        glyphs = _draw_piece(piece, text.font, False, sixty_fourths)
        _stamp(canvas, glyphs, text.x + whole, text.y)
        pen += _advance(piece, text.font)


def _stamp(canvas: Indices, glyphs: Glyphs | None, x: int, y: int) -> None:
    if glyphs is None:
        return
    x, y = x + glyphs.right, y + glyphs.down
    letters = glyphs.image[max(0, -y) :, max(0, -x) :]
    area = canvas[max(0, y) :, max(0, x) :][: letters.shape[0], : letters.shape[1]]
    np.minimum(area, letters[: area.shape[0], : area.shape[1]], out=area)


def shorten(string: str, font: Font, max_width: int) -> str:
    """Return the string, or a beginning with an ellipsis that fits into `max_width` pixels."""
    if text_width(string, font) <= max_width:
        return string
    low, high = 0, len(string)
    while high - low > 1:
        middle = (low + high) // 2
        fits = text_width(string[:middle].rstrip() + "…", font) <= max_width
        low, high = (middle, high) if fits else (low, middle)
    return string[:low].rstrip() + "…"


def wrap(string: str, font: Font, max_width: int, lines: int = 2) -> list[str]:
    """Break the string at spaces into at most `lines` lines; the last line is shortened."""
    words = string.split(" ")
    done: list[str] = []
    while words and len(done) < lines - 1:
        count = len(words)
        while count > 1 and text_width(" ".join(words[:count]), font) > max_width:
            count -= 1
        done.append(shorten(" ".join(words[:count]), font, max_width))
        words = words[count:]
    return done + ([shorten(" ".join(words), font, max_width)] if words else [])
