"""Colour scales: from numbers to colours, and to positions on the colour bar.

Colours of weights follow the square root of the weight: if the first token gets half of all
attention, a third of the colours is left to weights below a tenth of that. A scale ends at a round
number, so that the figures of neighbouring steps share their colours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import FuncNorm

from attnmon_renderer.drawing.spec.palettes import (
    CHANGE_PALETTE,
    LEVELS,
    NOT_FINITE,
    WEIGHT_PALETTE,
    Indices,
    Palette,
)
from attnmon_renderer.drawing.spec.panel import MaskArray, Values

_APART = 0.14
"""Least distance of two ticks, as a fraction of the bar's length."""
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A colour scale: its name, ends, ticks and colours."""

    name: str
    """Title of the colour bar."""
    low: float
    """The number at the lower end."""
    high: float
    """The number at the upper end."""
    ticks: tuple[float, ...]
    palette: Palette
    square_root: bool
    """Positions on the bar follow the square root of the magnitude, not the number itself."""

    def fraction(self, value: float) -> float:
        """Return the position of a number on the bar: 0 at the lower end, 1 at the upper end."""
        low, here, high = (float(self.forward(np.float64(x))) for x in (self.low, value, self.high))
        return (here - low) / (high - low)

    def indices(self, values: Values, masked: MaskArray) -> Indices:
        """Return the palette index of each value: ⌊levels · fraction⌋, as matplotlib rounds it."""
        finite = np.isfinite(values)
        position: Values = self.forward(
            np.where(finite, np.clip(values, self.low, self.high), self.low)
        )
        low, high = self.forward(np.array([self.low, self.high]))
        position -= low
        position /= high - low
        position *= LEVELS
        index = np.minimum(position, LEVELS - 1).astype(np.uint8)
        index[~finite] = NOT_FINITE
        index[masked] = self.palette.masked_index
        return index

    def norm(self) -> FuncNorm:
        """Return the scale as a norm of matplotlib."""
        return FuncNorm((self.forward, self.backward), vmin=self.low, vmax=self.high)

    def forward(self, values: Any) -> Any:
        """Transform numbers so that their differences are proportional to lengths on the bar."""
        if not self.square_root:
            return values.copy()
        if self.low >= 0:
            return np.sqrt(values)
        return np.sign(values) * np.sqrt(np.abs(values))

    def backward(self, positions: Any) -> Any:
        """Invert `forward`."""
        if not self.square_root:
            return positions.copy()
        return np.sign(positions) * np.square(positions)


def weight_scale(top: float, name: str = "attention weight") -> Scale:
    """Return a scale of weights from 0 to `top`."""
    ticks = _root_ticks(top)
    return Scale(f"{name} (√ scale)", 0.0, top, ticks, WEIGHT_PALETTE, square_root=True)


def change_scale(top: float) -> Scale:
    """Return a scale of changes from −`top` to `top`."""
    above = _root_ticks(top, 2 * _APART)[1:]
    ticks = (*(-tick for tick in reversed(above)), 0.0, *above)
    return Scale("change of weight (√ scale)", -top, top, ticks, CHANGE_PALETTE, square_root=True)


def linear_scale(name: str, low: float, high: float) -> Scale:
    """Return a linear scale from `low` to `high`, which are not rounded."""
    step = next(s for s in _steps(high - low) if s >= (high - low) * _APART)
    first = np.ceil(low / step - 1e-9)
    count = int((high - first * step) / step + 1e-9) + 1
    ticks = tuple(float(f"{(first + n) * step:.10g}") for n in range(count))
    return Scale(name, low, high, ticks, WEIGHT_PALETTE, square_root=False)


def rounded_top(maximum: float) -> float:
    """Return the round number at or above `maximum` that ends a scale; 1 if it is not positive."""
    if not maximum > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(maximum))
    least = maximum / power * (1 - 1e-5)  # a float32 can be slightly larger than its decimal
    return float(f"{next((r for r in _ROUND if r >= least), 10.0) * power:.6g}")


def _root_ticks(top: float, apart: float = _APART) -> tuple[float, ...]:
    """Return 0, round numbers that are far enough apart, and `top`."""
    ticks = [top]
    for candidate in reversed(list(_steps(top))):
        place = np.sqrt(candidate / top)
        if apart <= place <= np.sqrt(ticks[-1] / top) - apart:
            ticks.append(candidate)
    return (0.0, *reversed(ticks))


def _steps(size: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten, from about a hundredth of `size` up to it."""
    power = int(np.floor(np.log10(size)))
    return [float(f"{m}e{e}") for e in range(power - 2, power + 1) for m in (1, 2, 5)]
