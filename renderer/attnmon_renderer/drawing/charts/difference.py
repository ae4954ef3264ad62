"""How a map changed between two steps. Pure: from numbers to a finished PNG.

Only fixed input shows learning: with another sample in each step, the samples differ too.
"""

from dataclasses import dataclass

import numpy as np

from attnmon_renderer.drawing.layout.panel_page import panel_page
from attnmon_renderer.drawing.layout.panel_scale import largest
from attnmon_renderer.drawing.spec.figure_data import Axis, Caption, MaskArray, Panel, Values
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.scales import of_changes, top_of


@dataclass(frozen=True, slots=True)
class DifferencePicture:
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


def difference(picture: DifferencePicture) -> Page:
    """Lay out after minus before: red where a query attends more than it did, blue where less."""
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is shown as what it is
        change = picture.after - picture.before
    panel = Panel("", change, picture.masked, picture.queries, picture.keys)
    top = top_of(largest(panel)) if picture.top is None else picture.top
    return panel_page(picture.caption, (panel,), 1, of_changes(top))
