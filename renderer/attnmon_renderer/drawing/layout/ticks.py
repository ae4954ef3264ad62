"""The ticks of an axis: tokens if they are known and legible, otherwise positions."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from attnmon_renderer.drawing.layout.cell_size import MapSide
from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.glyphs import shorten, text_width

_READABLE = 15
"""The least pixels of a cell beside which a token is written."""
_LONGEST_TOKEN = 9
"""The most pixels of a token's label, in font sizes."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """The ticks of one side of a map."""

    offsets: tuple[int, ...]
    """Whole pixels from the map's edge to the centre of each tick's cell."""
    labels: tuple[str, ...]
    font: Font
    tokens: bool = False
    """The labels are tokens, one for each cell."""

    @property
    def widest(self) -> int:
        """Pixels of the widest label."""
        return max(text_width(label, self.font) for label in self.labels)


def place_ticks(side: MapSide, font: Font, across: bool) -> Ticks:
    """Return the ticks of one side; `across` if its labels stand next to each other along it."""
    if _shows_tokens(side):
        return _token_ticks(side, font)
    every = next(step for step in _round_numbers() if _far_enough(step, side, font, across))
    earlier = side.axis.earlier
    positions = range(earlier % every, side.axis.length, every)
    offsets = tuple(_cell_centre(p, side) for p in positions)
    return Ticks(offsets, tuple(str(p - earlier).replace("-", "−") for p in positions), font)


def _shows_tokens(side: MapSide) -> bool:
    known = len(side.axis.tokens) == side.axis.length
    return known and side.positions_per_cell == 1 and side.cell_pixels >= _READABLE


def _token_ticks(side: MapSide, font: Font) -> Ticks:
    letters = Font(min(font.size, int(side.cell_pixels * 0.8)), font.bold)
    room = _LONGEST_TOKEN * font.size
    names = tuple(shorten(_show_white_space(name), letters, room) for name in side.axis.tokens)
    offsets = tuple(_cell_centre(cell, side) for cell in range(side.cells))
    return Ticks(offsets, names, letters, tokens=True)


def _cell_centre(position: int, side: MapSide) -> int:
    return int((position + 0.5) / side.positions_per_cell * side.cell_pixels + 0.5)


def _show_white_space(token: str) -> str:
    """Return the token with its outer spaces made visible, so that no label looks empty."""
    return (token.replace(" ", "␣") if token.strip() != token else token) or "∅"


def _round_numbers() -> Iterator[int]:
    return (m * 10**e for e in count() for m in (1, 2, 5))


def _far_enough(step: int, side: MapSide, font: Font, across: bool) -> bool:
    if step >= side.axis.length:
        return True
    gap = step / side.positions_per_cell * side.cell_pixels
    needed = text_width(str(side.axis.length), font) + font.size if across else 2 * font.size
    return gap >= needed
