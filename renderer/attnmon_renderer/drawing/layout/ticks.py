"""The ticks of an axis whose tokens are not known: positions at round distances."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from attnmon_renderer.drawing.layout.cell_size import MapSide
from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.glyphs import text_width


@dataclass(frozen=True, slots=True)
class Ticks:
    """The ticks of one side of a map."""

    offsets: tuple[int, ...]
    """Whole pixels from the map's edge to the centre of each tick's cell."""
    labels: tuple[str, ...]
    font: Font
    room: int
    """Pixels that the labels take, away from the map."""
    tokens: bool = False
    """The labels are tokens."""
    every: int = 1
    """Of tokens: 1 if all are there; otherwise the ticks are some, and every such many-th."""


def position_ticks(side: MapSide, font: Font, across: bool) -> Ticks:
    """Return ticks at round positions; `across` if the labels stand next to each other along it."""
    every = next(step for step in _round_numbers() if _far_enough(step, side, font, across))
    earlier = side.axis.earlier
    positions = range(earlier % every, side.axis.length, every)
    offsets = tuple(cell_centre(p, side) for p in positions)
    labels = tuple(str(p - earlier).replace("-", "−") for p in positions)
    widest = max(text_width(label, font) for label in labels)
    return Ticks(offsets, labels, font, font.size if across else widest)


def cell_centre(position: int, side: MapSide) -> int:
    """Return the pixels from the map's edge to the centre of the cell of a position."""
    return int((position + 0.5) / side.positions_per_cell * side.cell_pixels + 0.5)


def _round_numbers() -> Iterator[int]:
    return (m * 10**e for e in count() for m in (1, 2, 5))


def _far_enough(step: int, side: MapSide, font: Font, across: bool) -> bool:
    if step >= side.axis.length:
        return True
    gap = step / side.positions_per_cell * side.cell_pixels
    needed = text_width(str(side.axis.length), font) + font.size if across else 2 * font.size
    return gap >= needed
