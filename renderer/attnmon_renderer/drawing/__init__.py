"""Figures of attention: inert data in, bytes of a PNG, SVG, PDF or animation out.

Each chart is a function from a record of what is shown (`drawing/spec`) to a `Page`, which says
what stands where. A page becomes a PNG (`render_png`), an SVG or PDF (`drawn_as`), or the next
frame of an animation (`extended`).
"""

from attnmon_renderer.drawing.backends.apng import extended
from attnmon_renderer.drawing.backends.png import Png, render_png
from attnmon_renderer.drawing.backends.vector import drawn_as
from attnmon_renderer.drawing.charts.alignment import alignment
from attnmon_renderer.drawing.charts.difference import DifferencePicture, difference
from attnmon_renderer.drawing.charts.head_matrix import MatrixPicture, head_matrix
from attnmon_renderer.drawing.charts.heatmaps import (
    head_grid,
    heatmap,
    layer_comparison,
)
from attnmon_renderer.drawing.charts.rollout import RolloutPicture, rollout
from attnmon_renderer.drawing.charts.surface import surface
from attnmon_renderer.drawing.charts.timeline import TimelinePicture, timeline
from attnmon_renderer.drawing.spec.figure_data import (
    Axis,
    Caption,
    ComparisonPicture,
    GridPicture,
    MapPicture,
    Panel,
)
from attnmon_renderer.drawing.spec.page import Page

__all__ = [
    "Axis",
    "Caption",
    "ComparisonPicture",
    "DifferencePicture",
    "GridPicture",
    "MapPicture",
    "MatrixPicture",
    "Page",
    "Panel",
    "Png",
    "RolloutPicture",
    "TimelinePicture",
    "alignment",
    "difference",
    "drawn_as",
    "extended",
    "head_grid",
    "head_matrix",
    "heatmap",
    "layer_comparison",
    "render_png",
    "rollout",
    "surface",
    "timeline",
]
