"""The palettes: which colour each byte of a picture stands for.

A palette has 256 colours. Letters need every grey from ink to white to be drawn exactly as
matplotlib draws them; a colour map has the rest, but for two colours of signs. A byte a pixel
instead of three halves the time that a picture takes.
"""

from dataclasses import dataclass, field

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

INK, WHITE = 82, 255
"""The darkest and the lightest grey. Greys stand at their own value."""
LEVELS = 80
"""Of the colour map, from index 0 on."""
NOT_FINITE, MARK = 80, 81

_SIGNS = ((213, 94, 0), (255, 45, 85))
_GREYS = np.arange(INK, WHITE + 1).repeat(3).reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class Palette:
    """A colour map of matplotlib's, the signs, and the greys."""

    name: str
    masked_index: int
    """The grey that the colour map keeps clear of."""
    colours: NDArray[np.uint8] = field(init=False)
    """[256, 3]"""
    colour_map: ListedColormap = field(init=False)
    """Its levels for matplotlib."""

    def __post_init__(self) -> None:
        levels = np.rint(colormaps[self.name].resampled(LEVELS)(np.arange(LEVELS))[:, :3] * 255)
        colours = np.vstack([levels, _SIGNS, _GREYS]).astype(np.uint8)
        # A quarter more: matplotlib truncates colours for images and rounds them for meshes.
        colour_map = ListedColormap((levels + 0.25) / 255.25, f"{self.name} of a palette")
        object.__setattr__(self, "colours", colours)
        object.__setattr__(self, "colour_map", colour_map)


WEIGHT_PALETTE = Palette("viridis", masked_index=228)
"""Perceptually uniform, safe for the colour-blind, and never grey nor vermilion: so grey can mean
"masked", and vermilion, which Okabe and Ito's palette sets apart for every eye, "not finite"."""

CHANGE_PALETTE = Palette("RdBu_r", masked_index=185)
"""Blue is less and red is more, which the colour-blind tell apart too; white is no change."""
