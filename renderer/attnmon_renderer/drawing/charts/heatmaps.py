"""The kinds of pictures that show attention maps. Pure: from numbers to a finished PNG."""

from collections.abc import Set

import numpy as np

from attnmon_renderer.drawing.backends.png import encode
from attnmon_renderer.drawing.backends.raster import paint
from attnmon_renderer.drawing.layout.panel_grid import columns_for
from attnmon_renderer.drawing.layout.panel_page import Extras, panel_page
from attnmon_renderer.drawing.spec.figure_data import (
    Axis,
    ComparisonPicture,
    GridPicture,
    MapPicture,
    Panel,
    Png,
)
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.scales import Scale, of_weights, top_of

_FEW_KEYS = 16
"""Fewer than one part in so many of what another query sees."""


def heat_map(picture: MapPicture) -> Png:
    """One attention map, large."""
    return png_of(heat_map_page(picture))


def head_grid(picture: GridPicture) -> Png:
    """All heads of a layer, in the order given, on one colour scale."""
    return png_of(head_grid_page(picture))


def layer_comparison(picture: ComparisonPicture) -> Png:
    """One panel a layer, in the order given, on one colour scale."""
    return png_of(layer_comparison_page(picture))


def heat_map_page(picture: MapPicture, extras: Extras | None = None) -> Page:
    panel = Panel("", picture.values, picture.masked, picture.queries, picture.keys)
    return panel_page(picture.caption, (panel,), 1, scale_of((panel,), picture.top), extras)


def head_grid_page(picture: GridPicture) -> Page:
    panels = tuple(
        Panel(label, values, picture.masked, picture.queries, picture.keys)
        for label, values in zip(picture.labels, picture.values, strict=True)
    )
    return panel_page(
        picture.caption, panels, columns_for(len(panels)), scale_of(panels, picture.top)
    )


def layer_comparison_page(picture: ComparisonPicture) -> Page:
    columns = columns_for(len(picture.panels))
    return panel_page(
        picture.caption, picture.panels, columns, scale_of(picture.panels, picture.top)
    )


def scale_of(panels: tuple[Panel, ...], top: float | None) -> Scale:
    """The one of them all, up to `top`; None: a round number above the largest that tells."""
    top = top_of(max(map(largest, panels))) if top is None else top
    return of_weights(top, weight_of({panel.keys for panel in panels}))


def weight_of(cells: Set[Axis]) -> str:
    """What the numbers of such cells are, along their keys."""
    steps = {keys.step if keys.summed else 1 for keys in cells}
    if steps == {1}:
        return "attention weight"
    return f"weight of {steps.pop()} keys" if len(steps) == 1 else "weight of each cell's keys"


def largest(panel: Panel) -> float:
    """The largest magnitude that is a number and not masked; 0 where there is none.

    Queries that see few keys beside others do not count. The first of a causal map has a weight of
    1 whatever the model has learnt: all that it did learn would be dark.
    """
    seen = (~panel.masked).sum(axis=1)
    telling = seen * _FEW_KEYS >= seen.max()
    counts = np.isfinite(panel.values) & ~panel.masked & telling[:, None]
    return float(np.max(np.abs(panel.values), initial=0, where=counts))


def png_of(page: Page) -> Png:
    return encode(paint(page), page.palette.colours)
