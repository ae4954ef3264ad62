"""A page, as inert data: what stands where, in whole pixels from the upper left corner.

Two interpreters draw it: `paint` pastes pixels, `plain` asks matplotlib. Tests hold them together.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.palettes import Palette
from attnmon_renderer.drawing.spec.panel import MaskArray, Values
from attnmon_renderer.drawing.spec.scales import Scale


class Font(NamedTuple):
    """DejaVu Sans, or whatever installed font has the character. A key of many look-ups."""

    size: int
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """One line. (x, y) is where its baseline starts; an upright one reads from there upwards."""

    x: int
    y: int
    string: str
    font: Font
    upright: bool = False


@dataclass(frozen=True, slots=True)
class CellMap:
    """Values as coloured cells. (x, y) is the upper left corner."""

    x: int
    y: int
    cell_width: int
    cell_height: int
    values: Values
    masked: MaskArray
    column_ticks: tuple[int, ...]
    """Pixels from the left edge to the centre of each tick."""
    row_ticks: tuple[int, ...]
    scale: Scale

    @property
    def width(self) -> int:
        return self.cell_width * int(self.values.shape[1])

    @property
    def height(self) -> int:
        return self.cell_height * int(self.values.shape[0])


@dataclass(frozen=True, slots=True)
class ColorBar:
    """The colour bar. Its height is a multiple of the levels, so each level is whole pixels."""

    x: int
    y: int
    width: int
    height: int
    scale: Scale

    def offset(self, place: float) -> int:
        """Pixels from the upper end to a place, 0 at the lower end … 1 at the upper."""
        return math.floor(self.height * (1 - place) + 0.5)


@dataclass(frozen=True, slots=True)
class ColorBlock:
    """A rectangle of one colour."""

    x: int
    y: int
    width: int
    height: int
    index: int
    """Of the palette."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A line through points, or the area that they enclose, in grey on white."""

    points: NDArray[np.float64]
    """[points, 2]: x and y"""
    grey: int
    line_width: float = 0.0
    """0 fills the area."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Quadrilaterals, each of one colour, drawn row by row: later ones hide earlier ones."""

    corners: NDArray[np.float64]
    """[rows + 1, columns + 1, 2]: x and y"""
    indices: NDArray[np.uint8]
    """[rows, columns], of the palette"""


@dataclass(frozen=True, slots=True)
class Page:
    width: int
    height: int
    palette: Palette
    tick_length: int
    maps: tuple[CellMap, ...]
    bars: tuple[ColorBar, ...]
    blocks: tuple[ColorBlock, ...]
    """In this order, over the maps."""
    texts: tuple[Text, ...]
    shapes: tuple[Shape, ...] = ()
    """Under all else, in this order."""
    mesh: Mesh | None = None
    """Over the shapes."""


TICK_WIDTH = 2
