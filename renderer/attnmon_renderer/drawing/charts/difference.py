"""How a map changed between two steps. Pure: from numbers to a finished PNG.

Only fixed input shows learning: with another sample in each step, the samples differ too.
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
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is shown as what it is
        change = data.after - data.before
    panel = Panel("", change, data.masked, data.queries, data.keys)
    top = rounded_top(largest_value(panel)) if data.top is None else data.top
    return panel_page(data.caption, (panel,), 1, change_scale(top))
