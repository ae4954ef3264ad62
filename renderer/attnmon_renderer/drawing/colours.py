"""Attention weights to colours, all of them of one palette.

The colour map is viridis: perceptually uniform, safe for the colour-blind, and never grey, so that
grey can mean "masked"; nor vermilion, which Okabe and Ito's palette sets apart for every eye, so
that it can mean "not finite". Colours follow the square root of the weight: a first token that
draws half of all attention leaves a third of the colours to weights below a tenth of that.

A palette has 256 colours. Letters need every grey from ink to white to be drawn exactly as
matplotlib draws them; the colour map has the rest. A byte a pixel instead of three halves the time
that a picture takes.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from attnmon_renderer.drawing.pictures import Mask, Values

Indices = NDArray[np.uint8]

INK, MASKED, WHITE = 81, 228, 255
"""Of the palette, whose greys stand at their own value."""
LEVELS = INK - 1
"""Of the colour map, from index 0 on."""
NOT_FINITE = LEVELS
NOT_FINITE_COLOUR = (213, 94, 0)

_VIRIDIS = np.rint(colormaps["viridis"].resampled(LEVELS)(np.arange(LEVELS))[:, :3] * 255)
_GREYS = np.arange(INK, WHITE + 1).repeat(3).reshape(-1, 3)

PALETTE = np.vstack([_VIRIDIS, NOT_FINITE_COLOUR, _GREYS]).astype(np.uint8)
"""[256, 3]"""

COLOUR_MAP = ListedColormap((_VIRIDIS + 0.25) / 255, "viridis of the palette")
"""The same for matplotlib. A quarter more, since it truncates for images and rounds for meshes."""


def indices(values: Values, masked: Mask, top: float) -> Indices:
    """The colour of each weight: ⌊levels · √(weight / top)⌋, computed in matplotlib's order."""
    finite = np.isfinite(values)
    root = np.sqrt(np.where(finite, np.clip(values, 0, top), 0))
    root /= np.sqrt(np.float64(top))
    root *= LEVELS
    index = np.minimum(root, LEVELS - 1).astype(np.uint8)
    index[~finite] = NOT_FINITE
    index[masked] = MASKED
    return index


_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def top_of(maximum: float) -> float:
    """The round number that a scale ends at, so that neighbouring steps share their colours."""
    if not maximum > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(maximum))
    least = maximum / power * (1 - 1e-5)  # float32 has 0.8 and 1 a little larger than they are
    return float(f"{next((r for r in _ROUND if r >= least), 10.0) * power:.6g}")


def scale_ticks(top: float, apart: float = 0.14) -> list[float]:
    """Round weights from 0 to `top`, at least `apart` of the square-root scale's length apart."""
    power = np.floor(np.log10(top))
    candidates = [m * 10.0**e for e in (power, power - 1, power - 2) for m in (5, 2, 1)]
    ticks = [top]
    for candidate in candidates:
        place = np.sqrt(candidate / top)
        if apart <= place <= np.sqrt(ticks[-1] / top) - apart:
            ticks.append(float(f"{candidate:.6g}"))
    return [0.0, *reversed(ticks)]
