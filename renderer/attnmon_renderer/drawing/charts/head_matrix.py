"""A statistic of every head of every layer, at one step. Pure: from numbers to a finished PNG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnmon_renderer.drawing.layout.panel_page import Extras, panel_page
from attnmon_renderer.drawing.spec.figure_data import Axis, Caption, Panel
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.scales import linear


@dataclass(frozen=True, slots=True)
class MatrixPicture:
    """One number a head. Layers may have different numbers of heads."""

    caption: Caption
    statistic: str
    """Its name, as it stands at the colour bar: "entropy (of its maximum)"."""
    layers: tuple[tuple[str, Sequence[float]], ...]
    """(name, one number a head), in the order of the layers."""
    low: float | None = None
    """Where the colour scale begins and ends; None is the smallest and the largest number."""
    high: float | None = None

    def __post_init__(self) -> None:
        if not any(len(numbers) for _, numbers in self.layers):
            raise ValueError("a matrix without a number: give at least one layer with one head")


def head_matrix(picture: MatrixPicture) -> Page:
    """Lay out a matrix: layers from top to bottom, heads from left to right."""
    heads = max(len(numbers) for _, numbers in picture.layers)
    values = np.zeros((len(picture.layers), heads), np.float32)
    missing = np.ones(values.shape, np.bool_)
    for row, (_, numbers) in enumerate(picture.layers):
        values[row, : len(numbers)] = numbers
        missing[row, : len(numbers)] = False
    names = tuple(name for name, _ in picture.layers)
    layers = Axis(len(names), tokens=names, name="layer")
    panel = Panel("", values, missing, layers, Axis(heads, name="head"))
    low, high = _ends(picture, values[~missing & np.isfinite(values)])
    return panel_page(
        picture.caption, (panel,), 1, linear(picture.statistic, low, high), Extras("no such head")
    )


def _ends(picture: MatrixPicture, numbers: np.ndarray) -> tuple[float, float]:
    low = float(np.min(numbers, initial=np.inf)) if picture.low is None else picture.low
    high = float(np.max(numbers, initial=-np.inf)) if picture.high is None else picture.high
    if not np.isfinite([low, high]).all():
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, low + 0.5)
