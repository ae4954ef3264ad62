"""Pictures of attention: inert data in, PNG bytes out."""

from attnmon_renderer.drawing.maps import head_grid, heat_map, layer_comparison
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
    "Panel",
    "Png",
    "head_grid",
    "heat_map",
    "layer_comparison",
]
