"""Maps to whole pixels: every cell is the same whole number of pixels wide, and of pixels high.

What is larger than its place is reduced by the largest of neighbouring cells, so that a line or a
sink one cell wide is neither lost nor diluted, and the colour still reads as a weight.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.panel import Axis, MaskArray, Panel, Values

T = TypeVar("T", np.float32, np.bool_)

_THIN = 1 / 3
"""A map's short side is drawn at least this long, of the long side: cells need not be square."""
_ROOM = 1.6
"""How much larger than wished for a map may be drawn, rather than reduced."""


@dataclass(frozen=True, slots=True)
class MapSide:
    """One side of a map: how many cells become one, and how many pixels that one takes."""

    axis: Axis
    cells_merged: int
    cell_pixels: int

    @property
    def positions_per_cell(self) -> int:
        """Positions in one drawn cell."""
        return self.axis.positions_per_cell * self.cells_merged

    @property
    def cells(self) -> int:
        return -(-self.axis.cells // self.cells_merged)

    @property
    def pixels(self) -> int:
        return self.cells * self.cell_pixels


@dataclass(frozen=True, slots=True)
class FittedMap:
    values: Values
    masked: MaskArray
    rows: MapSide
    columns: MapSide


def fit_map(panel: Panel, side: int) -> FittedMap:
    """The panel reduced or enlarged so that its long side takes about `side` pixels."""
    longest = max(panel.values.shape)
    rows = _side(panel.queries, longest, side)
    columns = _side(panel.keys, longest, side)
    return FittedMap(
        merge_extremes(panel.values, rows.cells_merged, columns.cells_merged),
        merge_cells(panel.masked, rows.cells_merged, columns.cells_merged, np.logical_and),
        rows,
        columns,
    )


def merge_extremes(values: Values, rows: int, columns: int) -> Values:
    """Of each group of cells the one that is farthest from 0."""
    above = merge_cells(values, rows, columns, np.maximum)
    if above is values or not (values < 0).any():
        return above
    below = merge_cells(values, rows, columns, np.minimum)
    return np.where(-below > above, below, above)


def _side(axis: Axis, longest: int, side: int) -> MapSide:
    merged = -(-longest // int(_ROOM * side))
    if axis.cells / merged < side * _THIN:
        merged = max(1, min(merged, int(axis.cells / (side * _THIN))))
    wished = side * max(axis.cells / longest, _THIN)
    cells = -(-axis.cells // merged)
    return MapSide(axis, merged, max(1, int(wished / cells + 0.5)))


def merge_cells(cells: NDArray[T], rows: int, columns: int, by: np.ufunc) -> NDArray[T]:
    """Each group of so many rows and columns made one cell; the last may hold fewer."""
    if rows == columns == 1:
        return cells
    with np.errstate(invalid="ignore"):
        merged = by.reduceat(cells, np.arange(0, cells.shape[0], rows), axis=0)
        return np.asarray(by.reduceat(merged, np.arange(0, cells.shape[1], columns), axis=1))
