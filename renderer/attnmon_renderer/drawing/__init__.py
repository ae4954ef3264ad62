"""Pictures of attention: inert data in, PNG bytes out.

Each kind has a record of what it shows, and a function in `chart_pages` that lays out its page. A
page becomes a PNG (`png_of`), SVG or PDF (`drawn_as`), or a frame of an animation (`extended`).
"""

from attnmon_renderer.drawing import chart_pages
from attnmon_renderer.drawing.backends.apng import extended
from attnmon_renderer.drawing.backends.vector import drawn_as
from attnmon_renderer.drawing.charts.difference import DifferencePicture
from attnmon_renderer.drawing.charts.head_matrix import MatrixPicture
from attnmon_renderer.drawing.charts.heatmaps import head_grid, heat_map, layer_comparison, png_of
from attnmon_renderer.drawing.charts.rollout import RolloutPicture
from attnmon_renderer.drawing.charts.timeline import TimelinePicture
from attnmon_renderer.drawing.spec.figure_data import (
    Axis,
    Caption,
    ComparisonPicture,
    GridPicture,
    MapPicture,
    Panel,
    Png,
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
    "chart_pages",
    "drawn_as",
    "extended",
    "head_grid",
    "heat_map",
    "layer_comparison",
    "png_of",
]
