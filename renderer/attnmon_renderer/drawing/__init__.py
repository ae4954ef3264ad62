"""Pictures of attention: inert data in, PNG bytes out.

Each kind has a record of what it shows, a function that draws it, and one that lays out its page,
for `vector.drawn_as` and `animation.extended`.
"""

from attnmon_renderer.drawing.alignment import alignment, alignment_page
from attnmon_renderer.drawing.animation import extended
from attnmon_renderer.drawing.difference import DifferencePicture, difference, difference_page
from attnmon_renderer.drawing.maps import (
    head_grid,
    head_grid_page,
    heat_map,
    heat_map_page,
    layer_comparison,
    layer_comparison_page,
    png_of,
)
from attnmon_renderer.drawing.matrix import (
    MatrixPicture,
    layer_head_matrix,
    layer_head_matrix_page,
)
from attnmon_renderer.drawing.page import Page
from attnmon_renderer.drawing.pictures import (
    Axis,
    Caption,
    ComparisonPicture,
    GridPicture,
    MapPicture,
    Panel,
    Png,
)
from attnmon_renderer.drawing.rollout import (
    RolloutPicture,
    attention_rollout,
    attention_rollout_page,
    rollout,
)
from attnmon_renderer.drawing.surface import surface, surface_page
from attnmon_renderer.drawing.timeline import TimelinePicture, timeline, timeline_page
from attnmon_renderer.drawing.vector import drawn_as

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
    "alignment_page",
    "attention_rollout",
    "attention_rollout_page",
    "difference",
    "difference_page",
    "drawn_as",
    "extended",
    "head_grid",
    "head_grid_page",
    "heat_map",
    "heat_map_page",
    "layer_comparison",
    "layer_comparison_page",
    "layer_head_matrix",
    "layer_head_matrix_page",
    "png_of",
    "rollout",
    "surface",
    "surface_page",
    "timeline",
    "timeline_page",
]
