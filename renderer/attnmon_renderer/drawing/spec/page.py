"""A page, as inert data: what stands where, in pixels from the upper left corner.

Two backends draw it: `backends.raster` pastes pixels, `backends.matplotlib_reference` uses
matplotlib's artists. Tests compare their pixels.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.palettes import Indices, Palette
from attnmon_renderer.drawing.spec.panel import MaskArray, Pixels, Values
from attnmon_renderer.drawing.spec.scales import Scale


class Font(NamedTuple):
    """A size and weight of DejaVu Sans, or of another font for characters that it does not have.

    A tuple, because it is a part of the keys of caches.
    """

    size: int
    """Pixels."""
    bold: bool = False
    language: str = ""
    """Whose form the Chinese characters have: "SC", "TC", "JP" or "KR"; empty for "SC"."""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text. (x, y) is where its baseline starts."""

    x: int
    y: int
    string: str
    font: Font
    upright: bool = False
    """The line reads upwards from (x, y), not to the right."""


@dataclass(frozen=True, slots=True)
class CellMap:
    """A map whose values are coloured cells, with ticks. (x, y) is its upper left corner."""

    x: int
    y: int
    cell_width: int
    """Pixels."""
    cell_height: int
    """Pixels."""
    values: Values
    """[rows, columns]"""
    masked: MaskArray
    """[rows, columns] True where a cell is drawn as masked."""
    column_ticks: tuple[int, ...]
    """Pixels from the left edge to the centre of each tick below the map."""
    row_ticks: tuple[int, ...]
    """Pixels from the upper edge to the centre of each tick left of the map."""
    scale: Scale
    label: str = ""
    """What tells it from the other maps of its page, which the page's texts say as well."""
    pixels: Pixels | None = None
    """[rows, columns, 3] An image that stands in place of the cells, stretched over all of them."""
    is_marked: bool = False
    """Whether the page's blocks mark the strongest cell of each row."""

    @property
    def width(self) -> int:
        return self.cell_width * int(self.values.shape[1])

    @property
    def height(self) -> int:
        return self.cell_height * int(self.values.shape[0])

    def drawn_pixels(self) -> Pixels:
        """Return the image as it is drawn, [height, width, 3]: each of its pixels a rectangle."""
        assert self.pixels is not None
        rows, columns, _ = self.pixels.shape
        row = np.arange(self.height) * rows // self.height
        column = np.arange(self.width) * columns // self.width
        drawn: Pixels = self.pixels[row[:, None], column]
        return drawn


@dataclass(frozen=True, slots=True)
class ColorBar:
    """The colour bar of a scale. (x, y) is its upper left corner."""

    x: int
    y: int
    width: int
    height: int
    """Pixels; a multiple of `palettes.LEVELS`, so that each level is whole pixels."""
    scale: Scale

    def offset(self, fraction: float) -> int:
        """Return the pixels from the upper end to a fraction of the height from the lower end."""
        return math.floor(self.height * (1 - fraction) + 0.5)


@dataclass(frozen=True, slots=True)
class ColorBlock:
    """A rectangle of one colour. (x, y) is its upper left corner."""

    x: int
    y: int
    width: int
    height: int
    index: int
    """Palette index of the colour."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A line through points, or the area that they enclose, in grey on white."""

    points: NDArray[np.float64]
    """[points, 2] x and y in pixels"""
    grey: int
    """0 is black and 255 white."""
    line_width: float = 0.0
    """Pixels; 0 fills the area."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """A grid of quadrilaterals of one colour each, drawn row by row."""

    corners: NDArray[np.float64]
    """[rows + 1, columns + 1, 2] x and y in pixels"""
    indices: Indices
    """[rows, columns] palette indices"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is laid out and not drawn yet.

    It is drawn in the order shapes, mesh, maps, bars, blocks, texts; later parts hide earlier ones.
    """

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    palette: Palette
    tick_length: int
    """Pixels."""
    maps: tuple[CellMap, ...]
    bars: tuple[ColorBar, ...]
    blocks: tuple[ColorBlock, ...]
    texts: tuple[Text, ...]
    shapes: tuple[Shape, ...] = ()
    mesh: Mesh | None = None
    row_axis: str = ""
    """What the rows of the maps are, as the page's texts say."""
    column_axis: str = ""


TICK_WIDTH = 2
"""Pixels."""
