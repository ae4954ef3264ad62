"""Text to pixels, drawn by matplotlib in pieces that are cached.

A line is put together from pieces: each digit is one, and so is each run of other characters.
Captions of successive steps differ only in their digits, so almost every line consists of pieces
that were drawn before. The result is what matplotlib would draw for the whole line. A short line,
such as a number at a tick, is one piece. The lines drawn last are kept as well: the pages of one
capture share most of theirs.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from attnmon_renderer.drawing.spec.page import Font, Text
from attnmon_renderer.drawing.spec.palettes import INK, WHITE, Indices, Palette
from attnmon_renderer.drawing.text.emoji import BELOW_BASELINE, picture_width, resized
from attnmon_renderer.drawing.text.fonts import DEJAVU, TextRun, font_properties, is_plain, runs
from attnmon_renderer.drawing.text.rc_defaults import text_defaults
from attnmon_renderer.tokens.clusters import clusters

POINTS_PER_INCH = 72
"""Resolution at which a point, matplotlib's unit of font sizes and lines, is one pixel."""

_AGG: Any = RendererAgg  # has no type annotations

_PIECE = re.compile(r"\d|\D+")
_SHORT = 4
"""The most characters of a line that is one piece."""
_LONGEST_LABEL = 20
"""The most characters of a line that is kept as a label is: ticks, tokens, heads."""
_GRID = 64
"""FreeType places outlines on a grid of 1/64 pixel."""
_JOINED = re.compile("[\u0590-\u1cff\u2de0-\u2dff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufeff]")
"""Letters whose shape or place depends on their neighbours, so that no line is cut at them."""
_LUMINANCE = np.array([3.0, 4.0, 2.0])
"""Weights of red, green and blue in the distance of two colours."""


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


def _measure(string: str, properties: FontProperties) -> float:
    with text_defaults():
        extent = _ruler().get_text_width_height_descent(string, properties, False)
    return float(extent[0])


@lru_cache(maxsize=4096)
def _advance(piece: TextRun, font: Font) -> float:
    """Return the pixels from the start of a piece to the start of the next piece."""
    if piece.picture is not None:
        return picture_width(piece.string, piece.picture, font.size) + font.size // 8
    properties = font_properties(font, piece.families)
    return _measure(f"0{piece.string}0", properties) - _measure("00", properties)


def text_width(string: str, font: Font) -> int:
    """Return the width of the string in one line, in whole pixels."""
    width = _plain_width(string, font)
    return _width(runs(string, font), font) if width is None else width


@lru_cache(maxsize=256)
def _plain_width(string: str, font: Font) -> int | None:
    """Return the width of a plain line, the same whatever is installed; None of another line."""
    return _width(runs(string, font), font) if is_plain(string) else None


def _width(line: tuple[TextRun, ...], font: Font) -> int:
    return int(np.ceil(sum(_advance(piece, font) for piece in _pieces(line))))


def _pieces(line: tuple[TextRun, ...]) -> Iterator[TextRun]:
    for run in line:
        if len(run.string) > _SHORT and run.families == DEJAVU and not _JOINED.search(run.string):
            yield from (TextRun(piece) for piece in _PIECE.findall(run.string))
        else:
            yield run


def placed_runs(text: Text) -> Iterator[tuple[float, TextRun]]:
    """Yield the runs of a line, each with its distance in pixels from the start of the line."""
    pen = 0.0
    for run in runs(text.string, text.font):
        yield pen, run
        pen += _advance(run, text.font)


@lru_cache(maxsize=2048)
def _draw_piece(piece: TextRun, font: Font, upright: bool, sixty_fourths: int) -> Glyphs | None:
    """Draw a piece of text, shifted by 1/64 pixels along the line; None if it has no ink."""
    properties = font_properties(font, piece.families)
    room = 2 * font.size
    length = int(_measure(piece.string, properties)) + 2 * room
    columns, rows = (2 * room, length) if upright else (length, 2 * room)
    shift = sixty_fourths / _GRID
    x, y = room + (0 if upright else shift), rows - room - (shift if upright else 0)
    with text_defaults():
        renderer = _AGG(columns, rows, POINTS_PER_INCH)
        image = np.asarray(renderer.buffer_rgba())
        image[:] = WHITE
        context = renderer.new_gc()
        context.set_foreground((INK / WHITE, INK / WHITE, INK / WHITE, 1.0), isRGBA=True)
        renderer.draw_text(context, x, y, piece.string, properties, 90 if upright else 0)
    return _crop(image[:, :, 0], room, rows - room)


def _crop(image: Indices, x: int, y: int) -> Glyphs | None:
    """Crop the image of a piece whose baseline starts at (x, y)."""
    inked = image < WHITE
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return None
    first_row, first_column = int(rows[0]), int(columns[0])
    letters = image[first_row : rows[-1] + 1, first_column : columns[-1] + 1].copy()
    return Glyphs(letters, first_column - x, first_row - y)


@lru_cache(maxsize=256)
def _draw_picture(piece: TextRun, font: Font, upright: bool, palette: Palette) -> Glyphs | None:
    """Draw an emoji in the colours of the palette that come nearest to its own."""
    assert piece.picture is not None
    picture = resized(piece.string, piece.picture, font.size)
    if picture is None:
        return None
    opacity = picture[:, :, 3:] / 255.0
    on_white = picture[:, :, :3] * opacity + 255 * (1 - opacity)
    distances = ((on_white[:, :, None] - palette.colours) ** 2) @ _LUMINANCE
    indices = np.where(opacity[:, :, 0] < 0.1, WHITE, distances.argmin(axis=2)).astype(np.uint8)
    below = round(BELOW_BASELINE * font.size)
    if upright:
        return Glyphs(np.rot90(indices), below - font.size, -indices.shape[1])
    return Glyphs(indices, 0, below - font.size)


def draw_text(canvas: Indices, text: Text, palette: Palette) -> None:
    """Draw one line of text on the [rows, columns] canvas; parts beyond its edges are cut off."""
    if is_plain(text.string):
        draw_line = _draw_label if len(text.string) <= _LONGEST_LABEL else _draw_caption
        glyphs = draw_line(text.string, text.font, text.upright)
        _stamp(canvas, glyphs, text.x, text.y, np.minimum)
        return
    for right, down, piece, sixty_fourths in _placed_pieces(text.string, text.font, text.upright):
        x, y = text.x + right, text.y + down
        if piece.picture is None:
            glyphs = _draw_piece(piece, text.font, text.upright, sixty_fourths)
            _stamp(canvas, glyphs, x, y, np.minimum)
        else:
            _stamp(canvas, _draw_picture(piece, text.font, text.upright, palette), x, y, _cover)


def _draw_plain_line(string: str, font: Font, upright: bool) -> Glyphs | None:
    """Draw a line whose look depends on no font that may yet be installed; None without ink."""
    pieces = [
        Glyphs(drawn.image, drawn.right + right, drawn.down + down)
        for right, down, piece, sixty_fourths in _placed_pieces(string, font, upright)
        if (drawn := _draw_piece(piece, font, upright, sixty_fourths)) is not None
    ]
    if len(pieces) < 2:
        return pieces[0] if pieces else None
    left, top = min(piece.right for piece in pieces), min(piece.down for piece in pieces)
    width = max(piece.right + piece.image.shape[1] for piece in pieces) - left
    height = max(piece.down + piece.image.shape[0] for piece in pieces) - top
    line = np.full((height, width), WHITE, np.uint8)
    for piece in pieces:
        _stamp(line, piece, -left, -top, np.minimum)
    return Glyphs(line, left, top)


_draw_label = lru_cache(maxsize=512)(_draw_plain_line)
_draw_caption = lru_cache(maxsize=64)(_draw_plain_line)
"""Long lines: they take more memory, and most change from capture to capture."""


def _placed_pieces(
    string: str, font: Font, upright: bool
) -> Iterator[tuple[int, int, TextRun, int]]:
    """Yield whole pixels right and down from the line's start, the piece, and 1/64 pixels more."""
    pen = 0.0
    line = runs(string, font)
    for piece in line if upright else _pieces(line):
        whole, sixty_fourths = divmod(round(pen * _GRID), _GRID)
        yield *((0, -whole) if upright else (whole, 0)), piece, sixty_fourths
        pen += _advance(piece, font)


def _stamp(
    canvas: Indices, glyphs: Glyphs | None, x: int, y: int, combine: Callable[..., Any]
) -> None:
    if glyphs is None:
        return
    x, y, letters = x + glyphs.right, y + glyphs.down, glyphs.image
    if x < 0 or y < 0:
        letters, x, y = letters[max(0, -y) :, max(0, -x) :], max(0, x), max(0, y)
    rows, columns = letters.shape
    area = canvas[y : y + rows, x : x + columns]
    combine(area, letters[: area.shape[0], : area.shape[1]], out=area)


def _cover(area: Indices, picture: Indices, out: Indices) -> None:
    np.copyto(out, picture, where=picture != WHITE)


def shorten(string: str, font: Font, max_width: int) -> str:
    """Return the string, or a beginning with an ellipsis that fits into `max_width` pixels."""
    if text_width(string, font) <= max_width:
        return string
    parts = clusters(string)
    low, high = 0, len(parts)
    while high - low > 1:
        middle = (low + high) // 2
        fits = text_width("".join(parts[:middle]).rstrip() + "…", font) <= max_width
        low, high = (middle, high) if fits else (low, middle)
    return "".join(parts[:low]).rstrip() + "…"


def wrap(string: str, font: Font, max_width: int, lines: int = 4) -> list[str]:
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
