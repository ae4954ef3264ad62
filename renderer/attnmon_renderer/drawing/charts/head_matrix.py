"""The head matrix chart: a statistic of every head of every layer, at one step."""

import numpy as np

from attnmon_renderer.drawing.layout.panel_page import PanelPageOptions, panel_page
from attnmon_renderer.drawing.spec.figure_data import HeadMatrixData
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.panel import Axis, Panel
from attnmon_renderer.drawing.spec.scales import linear_scale


def head_matrix(data: HeadMatrixData) -> Page:
    """Lay out a matrix: layers from top to bottom, heads from left to right."""
    heads = max(len(numbers) for _, numbers in data.layers)
    values = np.zeros((len(data.layers), heads), np.float32)
    missing = np.ones(values.shape, np.bool_)
    for row, (_, numbers) in enumerate(data.layers):
        values[row, : len(numbers)] = numbers
        missing[row, : len(numbers)] = False
    names = tuple(name for name, _ in data.layers)
    layers = Axis(len(names), tokens=names, name="layer")
    panel = Panel("", values, missing, layers, Axis(heads, name="head"))
    low, high = _value_range(data, values[~missing & np.isfinite(values)])
    return panel_page(
        data.caption,
        (panel,),
        1,
        linear_scale(data.statistic, low, high),
        PanelPageOptions("no such head"),
    )


def _value_range(data: HeadMatrixData, numbers: np.ndarray) -> tuple[float, float]:
    """Return where the scale begins and ends; apart by 1 if the numbers are equal."""
    low = float(np.min(numbers, initial=np.inf)) if data.low is None else data.low
    high = float(np.max(numbers, initial=-np.inf)) if data.high is None else data.high
    if not np.isfinite([low, high]).all():
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, low + 0.5)
