"""Figures of attention: inert data in, bytes of a PNG, SVG, PDF or animation out.

Each chart is a function from a record of what is shown (`drawing/spec`) to a `Page`, which says
what stands where. A page becomes a PNG (`render_png`), an SVG or PDF (`render_vector`), or the next
frame of an animation (`append_frame`).
"""

from attnmon_renderer.drawing.backends.apng import append_frame
from attnmon_renderer.drawing.backends.png import Png, render_png
from attnmon_renderer.drawing.backends.vector import render_vector
from attnmon_renderer.drawing.charts.alignment import alignment
from attnmon_renderer.drawing.charts.difference import difference
from attnmon_renderer.drawing.charts.head_matrix import head_matrix
from attnmon_renderer.drawing.charts.heatmaps import (
    head_grid,
    heatmap,
    layer_comparison,
)
from attnmon_renderer.drawing.charts.image_overlay import image_overlay
from attnmon_renderer.drawing.charts.rollout import attention_flow, rollout
from attnmon_renderer.drawing.charts.surface import surface
from attnmon_renderer.drawing.charts.timeline import timeline
from attnmon_renderer.drawing.layout.card import card
from attnmon_renderer.drawing.spec.figure_data import (
    AlertSpan,
    DifferenceData,
    HeadGridData,
    HeadMatrixData,
    HeadRange,
    HeatmapData,
    ImageOverlayData,
    LayerComparisonData,
    RolloutData,
    TimelineData,
)
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.panel import Axis, Caption, Panel

__all__ = [
    "AlertSpan",
    "Axis",
    "Caption",
    "DifferenceData",
    "HeadGridData",
    "HeadMatrixData",
    "HeadRange",
    "HeatmapData",
    "ImageOverlayData",
    "LayerComparisonData",
    "Page",
    "Panel",
    "Png",
    "RolloutData",
    "TimelineData",
    "alignment",
    "append_frame",
    "attention_flow",
    "card",
    "difference",
    "head_grid",
    "head_matrix",
    "heatmap",
    "image_overlay",
    "layer_comparison",
    "render_png",
    "render_vector",
    "rollout",
    "surface",
    "timeline",
]
