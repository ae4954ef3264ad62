"""The size of a map's cells: all are the same whole number of pixels wide, and of pixels high.

A map that is too large is reduced: neighbouring cells are merged into the one with the largest
value. So a line or a sink one cell wide is neither lost nor diluted, and colours remain weights.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.panel import Axis, MaskArray, Panel, Values

T = TypeVar("T", np.float32, np.bool_)

_THIN = 1 / 3
"""The least length of a map's short side, as a fraction of the long side. Cells need not be
square."""
_TOLERANCE = 1.6
"""How many times longer than requested a side may be drawn before cells are merged."""


@dataclass(frozen=True, slots=True)
class MapSide:
    """One side of a map as it is drawn."""

    axis: Axis
    cells_merged: int
    """Number of the axis' cells that are drawn as one cell."""
    cell_pixels: int
    """Pixels of a drawn cell."""

    @property
    def positions_per_cell(self) -> int:
        """Number of positions in a drawn cell."""
        return self.axis.positions_per_cell * self.cells_merged

    @property
    def cells(self) -> int:
        """Number of drawn cells."""
        return -(-self.axis.cells // self.cells_merged)

    @property
    def pixels(self) -> int:
        """Pixels of the whole side."""
        return self.cells * self.cell_pixels


@dataclass(frozen=True, slots=True)
class FittedMap:
    """A map as it is drawn: its cells after merging, and its two sides."""

    values: Values
    """[rows, columns] of drawn cells"""
    masked: MaskArray
    """[rows, columns] True where all merged cells are masked."""
    rows: MapSide
    columns: MapSide


def fit_map(panel: Panel, side: int) -> FittedMap:
    """Fit the panel's map so that its long side takes about `side` pixels."""
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
    """Merge groups of this many rows and columns into the value that is farthest from 0."""
    above = merge_cells(values, rows, columns, np.maximum)
    if above is values or not (values < 0).any():
        return above
    below = merge_cells(values, rows, columns, np.minimum)
    return np.where(-below > above, below, above)


def _side(axis: Axis, longest: int, side: int) -> MapSide:
    merged = -(-longest // int(_TOLERANCE * side))
    if axis.cells / merged < side * _THIN:
        merged = max(1, min(merged, int(axis.cells / (side * _THIN))))
    wished = side * max(axis.cells / longest, _THIN)
    cells = -(-axis.cells // merged)
    return MapSide(axis, merged, max(1, int(wished / cells + 0.5)))


def merge_cells(cells: NDArray[T], rows: int, columns: int, by: np.ufunc) -> NDArray[T]:
    """Merge groups of this many rows and columns by a ufunc; the last groups may be smaller."""
    if rows == columns == 1:
        return cells
    with np.errstate(invalid="ignore"):
        merged = by.reduceat(cells, np.arange(0, cells.shape[0], rows), axis=0)
        return np.asarray(by.reduceat(merged, np.arange(0, cells.shape[1], columns), axis=1))
