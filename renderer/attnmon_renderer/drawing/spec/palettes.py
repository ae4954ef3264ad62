"""The palettes: which colour each byte of a raster image stands for.

A palette has 256 colours: the levels of a colour map, two colours with a meaning of their own, and
every grey from ink to white, which text needs to be drawn exactly as matplotlib draws it. One byte
a pixel instead of three halves the time that a figure takes.
"""

from dataclasses import dataclass, field

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from attnmon.link.records.alert import Severity

Indices = NDArray[np.uint8]
"""Palette indices, such as [rows, columns] of a raster image."""

INK, WHITE = 82, 255
"""Indices of the darkest and the lightest grey. The index of a grey is its value."""
LEVELS = 80
"""Number of levels of the colour map, whose indices start at 0."""
NOT_FINITE, MARK = 80, 81
"""Indices of the colours of values that are not finite, and of marks."""

_SPECIAL_COLOURS = ((213, 94, 0), (255, 45, 85))
_GREYS = np.arange(INK, WHITE + 1).repeat(3).reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class Palette:
    """256 colours: one of matplotlib's colour maps, two special colours, and the greys."""

    name: str
    """Name of the colour map in matplotlib."""
    masked_index: int
    """Index of the grey of masked cells, which no level of the colour map resembles."""
    colours: NDArray[np.uint8] = field(init=False)
    """[256, 3] RGB, 0 to 255"""
    colour_map: ListedColormap = field(init=False)
    """The levels as a colour map of matplotlib."""

    def __post_init__(self) -> None:
        levels = np.rint(colormaps[self.name].resampled(LEVELS)(np.arange(LEVELS))[:, :3] * 255)
        colours = np.vstack([levels, _SPECIAL_COLOURS, _GREYS]).astype(np.uint8)
        # A quarter more: matplotlib truncates colours for images and rounds them for meshes.
        colour_map = ListedColormap((levels + 0.25) / 255.25, f"{self.name} of a palette")
        object.__setattr__(self, "colours", colours)
        object.__setattr__(self, "colour_map", colour_map)


WEIGHT_PALETTE = Palette("viridis", masked_index=228)
"""The palette of weights. It is perceptually uniform, safe for the colour-blind, and never grey nor
vermilion: grey can mean "masked", and vermilion, which everybody can tell apart in the palette of
Okabe and Ito, "not finite"."""

ALERT_PALETTE = Palette("tab10", masked_index=228)
"""The palette of alerts, of whose ten colours each has eight levels."""
SEVERITY_COLOURS: dict[Severity, int] = {"info": 4, "warn": 12, "error": 28}
"""Indices of blue, orange and red in it."""

CHANGE_PALETTE = Palette("RdBu_r", masked_index=185)
"""The palette of changes: blue is less, white is no change, and red is more. The colour-blind can
tell blue from red."""
