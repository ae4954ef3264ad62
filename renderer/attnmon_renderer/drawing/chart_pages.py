"""Every kind of picture as a page: to be painted as PNG, drawn as SVG or PDF, or made a frame."""

from attnmon_renderer.drawing.charts.alignment import alignment_page as alignment
from attnmon_renderer.drawing.charts.difference import difference_page as difference
from attnmon_renderer.drawing.charts.head_matrix import layer_head_matrix_page as layer_head_matrix
from attnmon_renderer.drawing.charts.heatmaps import head_grid_page as head_grid
from attnmon_renderer.drawing.charts.heatmaps import heat_map_page as heat_map
from attnmon_renderer.drawing.charts.heatmaps import layer_comparison_page as layer_comparison
from attnmon_renderer.drawing.charts.rollout import attention_rollout_page as attention_rollout
from attnmon_renderer.drawing.charts.surface import surface_page as surface
from attnmon_renderer.drawing.charts.timeline import timeline_page as timeline

__all__ = [
    "alignment",
    "attention_rollout",
    "difference",
    "head_grid",
    "heat_map",
    "layer_comparison",
    "layer_head_matrix",
    "surface",
    "timeline",
]
