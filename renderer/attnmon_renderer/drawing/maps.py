"""The kinds of pictures that show attention maps. Pure: from numbers to a finished PNG."""

from attnmon_renderer.drawing.arrangement import columns_for
from attnmon_renderer.drawing.colours import PALETTE
from attnmon_renderer.drawing.page import Page
from attnmon_renderer.drawing.paint import paint
from attnmon_renderer.drawing.pictures import (
    ComparisonPicture,
    GridPicture,
    MapPicture,
    Panel,
    Png,
)
from attnmon_renderer.drawing.png import encode
from attnmon_renderer.drawing.sheet import sheet


def heat_map(picture: MapPicture) -> Png:
    """One attention map, large."""
    return _png(heat_map_page(picture))


def head_grid(picture: GridPicture) -> Png:
    """All heads of a layer, in the order given, on one colour scale."""
    return _png(head_grid_page(picture))


def layer_comparison(picture: ComparisonPicture) -> Png:
    """One panel a layer, in the order given, on one colour scale."""
    return _png(layer_comparison_page(picture))


def heat_map_page(picture: MapPicture) -> Page:
    panel = Panel("", picture.values, picture.masked, picture.queries, picture.keys)
    return sheet(picture.caption, (panel,), columns=1)


def head_grid_page(picture: GridPicture) -> Page:
    panels = tuple(
        Panel(label, values, picture.masked, picture.queries, picture.keys)
        for label, values in zip(picture.labels, picture.values, strict=True)
    )
    return sheet(picture.caption, panels, columns_for(len(panels)))


def layer_comparison_page(picture: ComparisonPicture) -> Page:
    return sheet(picture.caption, picture.panels, columns_for(len(picture.panels)))


def _png(page: Page) -> Png:
    return encode(paint(page), PALETTE)
