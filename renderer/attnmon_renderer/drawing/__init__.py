"""Pictures of attention: inert data in, PNG bytes out.

Here are the kinds that are drawn at every capture. The others have modules of their own, each with
a record of what it shows, a function that draws it, and one that lays out its page: `alignment`,
`difference`, `matrix`, `rollout`, `surface`, `timeline`. A page can also be had as SVG or PDF
(`vector`), and be a frame of an `animation`.
"""

from attnmon_renderer.drawing.maps import (
    head_grid,
    head_grid_page,
    heat_map,
    heat_map_page,
    layer_comparison,
    layer_comparison_page,
    png_of,
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

__all__ = [
    "Axis",
    "Caption",
    "ComparisonPicture",
    "GridPicture",
    "MapPicture",
    "Page",
    "Panel",
    "Png",
    "head_grid",
    "head_grid_page",
    "heat_map",
    "heat_map_page",
    "layer_comparison",
    "layer_comparison_page",
    "png_of",
]
