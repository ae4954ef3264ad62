"""How a map changed between two steps. Pure: from numbers to a finished PNG.

Only fixed input shows learning: with another sample in each step, the samples differ too.
"""

from dataclasses import dataclass

import numpy as np

from attnmon_renderer.drawing.layout.panel_page import panel_page
from attnmon_renderer.drawing.layout.panel_scale import largest_value
from attnmon_renderer.drawing.spec.figure_data import Axis, Caption, MaskArray, Panel, Values
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.scales import change_scale, rounded_top


@dataclass(frozen=True, slots=True)
class DifferenceData:
    """Two maps of one layer, of the same shape."""

    caption: Caption
    before: Values
    """[queries, keys]"""
    after: Values
    """[queries, keys]"""
    masked: MaskArray
    queries: Axis
    keys: Axis
    top: float | None = None
    """Largest change on the colour scale; None is a round number above the largest there is."""

    def __post_init__(self) -> None:
        if self.before.shape != self.after.shape:
            raise ValueError(
                f"maps of {self.before.shape} and {self.after.shape} cells: "
                "a difference takes two of the same shape"
            )


def difference(data: DifferenceData) -> Page:
    """Lay out after minus before: red where a query attends more than it did, blue where less."""
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is shown as what it is
        change = data.after - data.before
    panel = Panel("", change, data.masked, data.queries, data.keys)
    top = rounded_top(largest_value(panel)) if data.top is None else data.top
    return panel_page(data.caption, (panel,), 1, change_scale(top))
