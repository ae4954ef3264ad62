"""Tokens at the ticks: all where there is room, otherwise those that tell the most.

Padding, whose token is empty, has none.
Then these are labelled: the first and the last position, the strongest, and every k-th as far as
it stands clear of them. Below a map a label that is written upright, such as Chinese, runs
downwards; others are turned.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.layout.cell_size import MapSide
from attnmon_renderer.drawing.layout.ticks import Ticks, cell_centre
from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.glyphs import shorten, text_width
from attnmon_renderer.tokens.clusters import (
    clusters,
    han_language,
    reads_leftwards,
    stands_upright,
)
from attnmon_renderer.tokens.token_text import readable

MOST_LABELLED = 64
"""Positions of a single map, all of which are labelled."""
ROOMY_CELL = 16
"""The least pixels of a single map's cell, for all labels to be read."""
_READABLE = 15
"""The least pixels of a cell beside which a token is written."""
_GAP = 18
"""The least pixels between two labels where not all have room."""
_LONGEST_TOKEN = 9
"""The most pixels of a token's label, in font sizes."""
_LETTERS, _SQUARES = 0.8, 0.95
"""Font size in parts of the room. Chinese characters have their gap within themselves, but letters
with marks above and below, as Hindi's, need it beside them."""
_LINE = 1.08
"""Pixels from one upright character to the next, in font sizes."""
_STRONGEST = 4
"""One label of this many is for the strongest positions."""
_DOWNWARDS = str.maketrans(
    "，、。：；！？…（）｛｝〔〕【】《》〈〉「」『』［］ー—–-～〜",
    "︐︑︒︓︔︕︖︙︵︶︷︸︹︺︻︼︽︾︿﹀﹁﹂﹃﹄﹇﹈︱︱︱︱︴︴",
)
"""Signs that have another form in a line which runs downwards."""

Strengths = Callable[[], NDArray[np.float64]]
"""Returns a number for each position: the larger, the more it tells; of pooled ones nothing."""


def shows_tokens(side: MapSide) -> bool:
    """Whether the side's ticks are tokens: there is one for each position."""
    return len(side.axis.tokens) == side.axis.length


def token_ticks(side: MapSide, font: Font, across: bool, strengths: Strengths) -> Ticks:
    """Return the ticks of a side whose tokens are known."""
    pitch = side.cell_pixels / side.positions_per_cell
    labels = readable(side.axis.tokens)
    named = np.flatnonzero([bool(token) for token in side.axis.tokens])  # padding has none
    named = named if len(named) else np.arange(len(labels))
    every, shown = 1, named.tolist()
    if pitch < _READABLE:
        every, shown = thinned(named, _GAP / pitch, strengths())
    least = min(np.diff([cell_centre(position, side) for position in shown]), default=side.pixels)
    size = int(least * _font_share(labels))
    letters = Font(min(font.size, size), font.bold, han_language(side.axis.tokens))
    room = _LONGEST_TOKEN * font.size
    short = [_shortened(label, letters, room, across) for label in labels]
    length = label_height if across else text_width
    return Ticks(
        tuple(cell_centre(position, side) for position in shown),
        tuple(short[position] for position in shown),
        letters,
        max(length(label, letters) for label in short),  # of all: frames of a film keep their size
        tokens=True,
        every=every,
    )


def _font_share(labels: Sequence[str]) -> float:
    """Return the font size in parts of the room that a label has."""
    upright = any(stands_upright(part) for label in labels for part in clusters(label))
    tall = any(unicodedata.category(character) in {"Mn", "Mc"} for character in "".join(labels))
    return _SQUARES if upright and not tall else _LETTERS


def thinned(
    named: NDArray[np.intp], gap: float, strengths: NDArray[np.float64]
) -> tuple[int, list[int]]:
    """Return k and the positions to label, at least `gap` positions apart, in rising order.

    named: the positions that have a label. strengths: of all positions.
    """
    fitting = max(2, int(len(named) / gap))
    every = next(step for step in _round_numbers() if step >= gap)
    by_strength = np.argsort(-strengths, kind="stable")
    strongest = by_strength[np.isin(by_strength, named)][: max(1, fitting // _STRONGEST)]
    regular = named[named % every == 0]
    chosen: list[int] = []
    for position in map(int, (named[0], named[-1], *strongest, *regular)):
        if all(abs(position - other) >= gap for other in chosen):
            chosen.append(position)
    return every, sorted(chosen)


def _round_numbers() -> Iterator[int]:
    return (m * 10**e for e in count() for m in (1, 2, 3, 4, 5, 6, 8))


def runs_downwards(label: str) -> bool:
    """Whether the label stands upright below a map: a single letter, or half of them do so."""
    if label.isascii():
        return len(label) == 1
    parts = clusters(label)
    upright = [stands_upright(part) for part in parts if part != "␣"]
    mostly = sum(upright) * 2 >= max(1, len(upright)) and not reads_leftwards(label)
    return mostly or len(parts) == 1


def downward_parts(label: str) -> tuple[str, ...]:
    """Return the characters of a label that runs downwards, in the forms that they have there."""
    return tuple(part.translate(_DOWNWARDS) for part in clusters(label))


def line_height(font: Font) -> int:
    """Return the pixels from one character of a label that runs downwards to the next."""
    return round(_LINE * font.size)


def label_height(label: str, font: Font) -> int:
    """Return the pixels that the label takes below a map."""
    if runs_downwards(label):
        return len(clusters(label)) * line_height(font)
    return text_width(label, font)


def _shortened(label: str, font: Font, room: int, across: bool) -> str:
    if not (across and runs_downwards(label)):
        return shorten(label, font, room)
    parts, most = clusters(label), max(1, room // line_height(font))
    return label if len(parts) <= most else "".join(parts[: most - 1]) + "…"
