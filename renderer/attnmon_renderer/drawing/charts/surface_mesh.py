"""The mesh of a surface: heights over the unit square, and the colours of its facets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.palettes import LEVELS, Indices

_FINEST = 64
"""About how many facets a side has at least. Where there are fewer cells, the gap between two cells
has several facets, whose colours follow the slope."""
_FRONT = (0, 1)
"""Rows and columns that the walls add: none at the back, one in front."""


@dataclass(frozen=True, slots=True)
class SurfaceMesh:
    """Corners of facets in the unit cube, and the facets' colours."""

    queries: NDArray[np.float64]
    """[rows] from 0 at the back to 1 in front"""
    keys: NDArray[np.float64]
    """[columns] from 0 at the back to 1 in front"""
    heights: NDArray[np.float64]
    """[rows, columns] from 0, the floor, to 1, the end of the colour scale"""
    colours: Indices
    """[rows - 1, columns - 1] palette indices of the facets"""


def surface_mesh(indices: Indices, masked: int) -> SurfaceMesh:
    """Return a mesh with a corner for each cell, and walls down to the floor at the front edges.

    `indices` are [query cells, key cells] palette indices, and `masked` is that of masked cells.
    Cells whose colour is not a level of the colour map have no height.
    """
    for axis in (0, 1):
        if indices.shape[axis] == 1:
            indices = indices.repeat(2, axis)
    rows, columns = (max(1, _FINEST // cells) for cells in indices.shape)
    heights = _between(_between(np.where(indices < LEVELS, indices, 0), rows).T, columns).T
    special = _special_colours(np.where(indices < LEVELS, 0, indices), masked)
    special = special.repeat(rows, axis=0).repeat(columns, axis=1)
    colours = np.where(special, special, _highest(np.rint(heights))).astype(np.uint8)
    queries, keys = (np.pad(np.linspace(0, 1, n), _FRONT, mode="edge") for n in heights.shape)
    walled = np.pad(heights, _FRONT) / (LEVELS - 1)
    return SurfaceMesh(queries, keys, walled, np.pad(colours, _FRONT, mode="edge"))


def _between(heights: NDArray[np.float64], finer: int) -> NDArray[np.float64]:
    """Interpolate between rows, so that each gap has `finer` steps."""
    rows = np.arange((len(heights) - 1) * finer + 1) / finer
    below = np.minimum(rows.astype(int), len(heights) - 2)
    share = (rows - below)[:, None]
    return np.asarray(heights[below] * (1 - share) + heights[below + 1] * share)


def _special_colours(special: Indices, masked: int) -> Indices:
    """Return each facet's special colour: that of any corner, masked only if all are, or 0."""
    highest = _highest(np.where(special == masked, -1, special.astype(np.int16)))
    return np.where(highest < 0, masked, highest).astype(np.uint8)


def _highest(corners: NDArray[Any]) -> NDArray[Any]:
    """Return the highest of the four corners of each facet."""
    pairs = np.maximum(corners[1:], corners[:-1])
    return np.asarray(np.maximum(pairs[:, 1:], pairs[:, :-1]))
