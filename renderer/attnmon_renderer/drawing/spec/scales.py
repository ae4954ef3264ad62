"""From numbers to places on a colour bar, and to the colours there.

Weights follow their square root: a first token that draws half of all attention leaves a third of
the colours to weights below a tenth of that. Where a scale ends is a round number, so that the
pictures of neighbouring steps share their colours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import FuncNorm
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.palettes import (
    CHANGE_PALETTE,
    LEVELS,
    NOT_FINITE,
    WEIGHT_PALETTE,
    Palette,
)
from attnmon_renderer.drawing.spec.panel import MaskArray, Values

Indices = NDArray[np.uint8]

_APART = 0.14
"""Least distance of two ticks, of the bar's length."""
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A colour bar: its name, its ends, its ticks and its colours."""

    name: str
    low: float
    high: float
    ticks: tuple[float, ...]
    palette: Palette
    square_root: bool
    """Places follow the square root of the magnitude; otherwise the number itself."""

    def fraction(self, value: float) -> float:
        """0 at the lower end of the bar … 1 at the upper."""
        low, here, high = (float(self.forward(np.float64(x))) for x in (self.low, value, self.high))
        return (here - low) / (high - low)

    def indices(self, values: Values, masked: MaskArray) -> Indices:
        """The colour of each value: ⌊levels · place⌋, computed in matplotlib's order."""
        finite = np.isfinite(values)
        place: Values = self.forward(
            np.where(finite, np.clip(values, self.low, self.high), self.low)
        )
        low, high = self.forward(np.array([self.low, self.high]))
        place -= low
        place /= high - low
        place *= LEVELS
        index = np.minimum(place, LEVELS - 1).astype(np.uint8)
        index[~finite] = NOT_FINITE
        index[masked] = self.palette.masked_index
        return index

    def norm(self) -> FuncNorm:
        """The same for matplotlib."""
        return FuncNorm((self.forward, self.backward), vmin=self.low, vmax=self.high)

    def forward(self, values: Any) -> Any:
        """The numbers whose differences are lengths on the bar."""
        if not self.square_root:
            return values.copy()
        if self.low >= 0:
            return np.sqrt(values)
        return np.sign(values) * np.sqrt(np.abs(values))

    def backward(self, places: Any) -> Any:
        """The inverse of `forward`."""
        return np.sign(places) * np.square(places) if self.square_root else places.copy()


def weight_scale(top: float, name: str = "attention weight") -> Scale:
    """From 0 to `top`."""
    ticks = _root_ticks(top)
    return Scale(f"{name} (√ scale)", 0.0, top, ticks, WEIGHT_PALETTE, square_root=True)


def change_scale(top: float) -> Scale:
    """From −`top` to `top`."""
    above = _root_ticks(top, 2 * _APART)[1:]
    ticks = (*(-tick for tick in reversed(above)), 0.0, *above)
    return Scale("change of weight (√ scale)", -top, top, ticks, CHANGE_PALETTE, square_root=True)


def linear_scale(name: str, low: float, high: float) -> Scale:
    """From `low` to `high`, which are taken as they are."""
    step = next(s for s in _steps(high - low) if s >= (high - low) * _APART)
    first = np.ceil(low / step - 1e-9)
    count = int((high - first * step) / step + 1e-9) + 1
    ticks = tuple(float(f"{(first + n) * step:.10g}") for n in range(count))
    return Scale(name, low, high, ticks, WEIGHT_PALETTE, square_root=False)


def rounded_top(maximum: float) -> float:
    """The round number that a scale ends at; 1 where there is nothing to show."""
    if not maximum > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(maximum))
    least = maximum / power * (1 - 1e-5)  # float32 has 0.8 and 1 a little larger than they are
    return float(f"{next((r for r in _ROUND if r >= least), 10.0) * power:.6g}")


def _root_ticks(top: float, apart: float = _APART) -> tuple[float, ...]:
    """0, round numbers that are far enough apart, and `top`."""
    ticks = [top]
    for candidate in reversed(list(_steps(top))):
        place = np.sqrt(candidate / top)
        if apart <= place <= np.sqrt(ticks[-1] / top) - apart:
            ticks.append(candidate)
    return (0.0, *reversed(ticks))


def _steps(size: float) -> list[float]:
    """1, 2 and 5 times the powers of ten, from a hundredth of `size` upwards."""
    power = int(np.floor(np.log10(size)))
    return [float(f"{m}e{e}") for e in range(power - 2, power + 1) for m in (1, 2, 5)]
