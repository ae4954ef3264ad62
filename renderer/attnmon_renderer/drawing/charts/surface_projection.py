"""The view of a surface: from points of a cube to pixels of the page.

The cube is seen from above a corner, in parallel projection. The first query and the first key
meet at the back, so drawing row by row lets what is in front hide what is behind.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Coordinate = float | NDArray[np.float64]
"""A position on an edge of the cube, 0 to 1; or several, as arrays that broadcast."""

EDGE, HEIGHT = 468, 150
"""Pixels: a side of the floor before it is tilted, and the height of the largest weight."""
_TURN, _TILT = np.radians(32), np.radians(38)


@dataclass(frozen=True)
class SurfaceProjection:
    """A parallel projection of the cube to the page."""

    left: int
    """Pixels from the page's left edge to the left corner of the floor."""
    top: int
    """Pixels from the page's upper edge to the rear corner of the cube's upper side."""

    def points(
        self, query: Coordinate, key: Coordinate, height: Coordinate = 0.0
    ) -> NDArray[np.float64]:
        """Return [..., 2] x and y of points; 0 is the first query or key, and the floor."""
        right, towards = np.cos(_TURN), np.sin(_TURN) * np.sin(_TILT)
        left, near = np.sin(_TURN), np.cos(_TURN) * np.sin(_TILT)
        x = self.left + EDGE * (left + key * right - query * left)
        y = self.top + HEIGHT + EDGE * (key * towards + query * near) - height * HEIGHT
        return np.stack(np.broadcast_arrays(x, y), axis=-1)
