"""The kinds of pictures that show attention maps. Pure: from numbers to a finished PNG."""

from attnmon_renderer.drawing.layout.panel_grid import columns_for
from attnmon_renderer.drawing.layout.panel_page import Extras, panel_page
from attnmon_renderer.drawing.layout.panel_scale import scale_of
from attnmon_renderer.drawing.spec.figure_data import (
    ComparisonPicture,
    GridPicture,
    MapPicture,
    Panel,
)
from attnmon_renderer.drawing.spec.page import Page


def heatmap(picture: MapPicture, extras: Extras | None = None) -> Page:
    """Lay out one attention map, large."""
    panel = Panel("", picture.values, picture.masked, picture.queries, picture.keys)
    return panel_page(picture.caption, (panel,), 1, scale_of((panel,), picture.top), extras)


def head_grid(picture: GridPicture) -> Page:
    """Lay out all heads of a layer, in the order given, on one colour scale."""
    panels = tuple(
        Panel(label, values, picture.masked, picture.queries, picture.keys)
        for label, values in zip(picture.labels, picture.values, strict=True)
    )
    return panel_page(
        picture.caption, panels, columns_for(len(panels)), scale_of(panels, picture.top)
    )


def layer_comparison(picture: ComparisonPicture) -> Page:
    """Lay out one panel for each layer, in the order given, on one colour scale."""
    columns = columns_for(len(picture.panels))
    return panel_page(
        picture.caption, picture.panels, columns, scale_of(picture.panels, picture.top)
    )
