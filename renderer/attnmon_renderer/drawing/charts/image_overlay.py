"""The overlay chart: an image, the attention on its patches over it, and that attention alone.

Under the attention the image is grey, so that colour means attention only. The more a patch gets of
it, the less of the image shows through.
"""

from dataclasses import replace

import numpy as np

from attnmon_renderer.drawing.layout.panel_page import panel_page
from attnmon_renderer.drawing.layout.panel_scale import largest_value
from attnmon_renderer.drawing.spec.figure_data import ImageOverlayData
from attnmon_renderer.drawing.spec.page import CellMap, Page
from attnmon_renderer.drawing.spec.palettes import LEVELS
from attnmon_renderer.drawing.spec.panel import Axis, Panel, Pixels
from attnmon_renderer.drawing.spec.scales import rounded_top, weight_scale

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (ITU-R BT.601)."""
_LEAST_COVER, _MOST_COVER = 0.25, 0.7
"""Share of the attention's colour in the overlay, at the two ends of its scale."""


def image_overlay(data: ImageOverlayData) -> Page:
    """Lay out the image, the overlay and the map side by side, on one grid of patches."""
    rows, columns = data.values.shape
    axes = Axis(rows, name="row of patches"), Axis(columns, name="column of patches")
    masked = np.zeros(data.values.shape, np.bool_)
    panels = tuple(
        Panel(label, data.values, masked, *axes) for label in ("image", "overlay", "attention")
    )
    top = rounded_top(largest_value(panels[0])) if data.top is None else data.top
    page = panel_page(data.caption, panels, len(panels), weight_scale(top, data.measure))
    image, overlay, attention = page.maps
    maps = (
        replace(image, pixels=data.pixels),
        replace(overlay, pixels=_blended(overlay, data.pixels)),
        attention,
    )
    return replace(page, maps=maps)


def _blended(area: CellMap, pixels: Pixels) -> Pixels:
    """Return the image in grey under the colours of the map's cells, [height, width, 3]."""
    shown = replace(area, pixels=pixels).drawn_pixels() @ _LUMINANCE
    levels = area.scale.indices(area.values, area.masked)
    levels = levels.repeat(area.cell_height, axis=0).repeat(area.cell_width, axis=1)
    cover = _LEAST_COVER + (_MOST_COVER - _LEAST_COVER) * levels[..., None] / LEVELS
    mixed = cover * area.scale.palette.colours[levels] + (1 - cover) * shown[..., None]
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
