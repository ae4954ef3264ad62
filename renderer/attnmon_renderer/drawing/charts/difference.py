"""The difference chart: how a map changed between two steps.

It shows learning only if the input is the same at both steps; otherwise it also shows how the
inputs differ.
"""

import numpy as np

from attnmon_renderer.drawing.layout.panel_page import panel_page
from attnmon_renderer.drawing.layout.panel_scale import largest_value
from attnmon_renderer.drawing.spec.figure_data import DifferenceData
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.panel import Panel
from attnmon_renderer.drawing.spec.scales import change_scale, rounded_top


def difference(data: DifferenceData) -> Page:
    """Lay out after minus before: red where a query attends more than it did, blue where less."""
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, which is drawn as not finite
        change = data.after - data.before
    panel = Panel("", change, data.masked, data.queries, data.keys)
    top = rounded_top(largest_value(panel)) if data.top is None else data.top
    return panel_page(data.caption, (panel,), 1, change_scale(top))
