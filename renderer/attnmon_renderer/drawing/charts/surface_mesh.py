"""Colours of cells to a landscape over the unit square: heights, and the colours of its facets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.palettes import LEVELS

_FINEST = 64
"""Facets a side, about: of fewer cells each has several facets, whose colours follow the slope."""
_FRONT = (0, 1)
"""Rows and columns that walls add: none at the back."""


@dataclass(frozen=True, slots=True)
class SurfaceMesh:
    queries: NDArray[np.float64]
    """[rows]: 0 at the back … 1 in front"""
    keys: NDArray[np.float64]
    """[columns]"""
    heights: NDArray[np.float64]
    """[rows, columns]: 0 … 1 at the corners of facets"""
    colours: NDArray[np.uint8]
    """[rows - 1, columns - 1]: of the palette"""


def surface_mesh(indices: NDArray[np.uint8], masked: int) -> SurfaceMesh:
    """A corner for each cell, and walls down to the floor at the edges in front.

    What is no level has no height; `masked` is the index of masked cells.
    """
    for axis in (0, 1):
        if indices.shape[axis] == 1:
            indices = indices.repeat(2, axis)
    rows, columns = (max(1, _FINEST // cells) for cells in indices.shape)
    heights = _between(_between(np.where(indices < LEVELS, indices, 0), rows).T, columns).T
    signs = _of_four(np.where(indices < LEVELS, 0, indices), masked)
    signs = signs.repeat(rows, axis=0).repeat(columns, axis=1)
    colours = np.where(signs, signs, _highest(np.rint(heights))).astype(np.uint8)
    queries, keys = (np.pad(np.linspace(0, 1, n), _FRONT, mode="edge") for n in heights.shape)
    walled = np.pad(heights, _FRONT) / (LEVELS - 1)
    return SurfaceMesh(queries, keys, walled, np.pad(colours, _FRONT, mode="edge"))


def _between(heights: NDArray[np.float64], finer: int) -> NDArray[np.float64]:
    """Each gap between two rows filled by so many steps."""
    rows = np.arange((len(heights) - 1) * finer + 1) / finer
    below = np.minimum(rows.astype(int), len(heights) - 2)
    share = (rows - below)[:, None]
    return np.asarray(heights[below] * (1 - share) + heights[below + 1] * share)


def _of_four(signs: NDArray[np.uint8], masked: int) -> NDArray[np.uint8]:
    """The sign at any corner of each quadrilateral, or 0; masked only if all four are."""
    highest = _highest(np.where(signs == masked, -1, signs.astype(np.int16)))
    return np.where(highest < 0, masked, highest).astype(np.uint8)


def _highest(corners: NDArray[Any]) -> NDArray[Any]:
    """The highest of the four corners of each quadrilateral."""
    pairs = np.maximum(corners[1:], corners[:-1])
    return np.asarray(np.maximum(pairs[:, 1:], pairs[:, :-1]))
