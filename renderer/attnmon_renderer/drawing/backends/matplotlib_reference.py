"""A page drawn by matplotlib in the usual way: axes, `imshow`, ticks, `colorbar`, text.

It is slow, and the reference for the pixels of `raster.rasterize`. `vector` saves it as SVG or PDF.
"""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle

from attnmon_renderer.drawing.backends.antialiased import page_transform
from attnmon_renderer.drawing.spec import palettes
from attnmon_renderer.drawing.spec.page import (
    TICK_WIDTH,
    CellMap,
    ColorBar,
    ColorBlock,
    Mesh,
    Page,
    Shape,
    Text,
)
from attnmon_renderer.drawing.spec.palettes import Palette
from attnmon_renderer.drawing.text.emoji import BELOW_BASELINE, picture, picture_width
from attnmon_renderer.drawing.text.fonts import TextRun, font_properties
from attnmon_renderer.drawing.text.glyphs import POINTS_PER_INCH, placed_runs

_INK = str(palettes.INK / 255)


def matplotlib_figure(page: Page) -> Figure:
    """Return the page as a matplotlib figure; draw or save it under `matplotlib_defaults()`."""
    size = (page.width / POINTS_PER_INCH, page.height / POINTS_PER_INCH)
    drawn = Figure(figsize=size, dpi=POINTS_PER_INCH)
    FigureCanvasAgg(drawn)
    for shape in page.shapes:
        _add_shape(drawn, page, shape)
    if page.mesh is not None:
        _add_mesh(drawn, page, page.mesh)
    for area in page.maps:
        _add_map(drawn, page, area)
    for bar in page.bars:
        _add_bar(drawn, page, bar)
    for block in page.blocks:
        _add_block(drawn, page, block)
    for text in page.texts:
        _add_text(drawn, page, text)
    return drawn


def _add_shape(drawn: Figure, page: Page, shape: Shape) -> None:
    grey, transform = str(shape.grey / palettes.WHITE), page_transform(page.height)
    if shape.line_width:
        x, y = shape.points.T
        drawn.add_artist(
            Line2D(
                x, y, color=grey, lw=shape.line_width, solid_joinstyle="round", transform=transform
            )
        )
    else:
        drawn.add_artist(Polygon(shape.points, facecolor=grey, lw=0, transform=transform))


def _add_mesh(drawn: Figure, page: Page, mesh: Mesh) -> None:
    colours = page.palette.colours[mesh.indices] / 255
    quadrilaterals = QuadMesh(mesh.corners, antialiased=False, lw=0)
    quadrilaterals.set_facecolor([tuple(colour) for colour in colours.reshape(-1, 3)])
    quadrilaterals.set_transform(page_transform(page.height))
    drawn.add_artist(quadrilaterals)


def _rectangle(
    page: Page, x: int, y: int, width: int, height: int
) -> tuple[float, float, float, float]:
    """Return left, bottom, width and height of a rectangle as fractions of the figure."""
    return (
        x / page.width,
        (page.height - y - height) / page.height,
        width / page.width,
        height / page.height,
    )


def _add_map(drawn: Figure, page: Page, area: CellMap) -> None:
    axes = drawn.add_axes(_rectangle(page, area.x, area.y, area.width, area.height))
    scale = area.scale
    finite = np.isfinite(area.values) | area.masked
    shown = np.ma.masked_array(np.clip(area.values, scale.low, scale.high), area.masked | ~finite)
    colour_map = scale.palette.colour_map.with_extremes(
        bad=_colour(scale.palette, scale.palette.masked_index)
    )
    axes.imshow(shown, norm=scale.norm(), cmap=colour_map, aspect="auto", interpolation="nearest")
    if area.pixels is not None:
        rows, columns = area.values.shape
        axes.imshow(
            area.drawn_pixels(),
            extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
            aspect="auto",
            interpolation="nearest",
        )
    elif not finite.all():
        axes.imshow(_overlay(finite), aspect="auto", interpolation="nearest")
    for spine in axes.spines.values():
        spine.set_visible(False)
    columns = [offset / area.cell_width - 0.5 for offset in area.column_ticks]
    rows = [offset / area.cell_height - 0.5 for offset in area.row_ticks]
    axes.set_xticks(columns, [""] * len(columns))
    axes.set_yticks(rows, [""] * len(rows))
    axes.tick_params(length=page.tick_length, width=TICK_WIDTH, color=_INK)


def _overlay(finite: np.ndarray) -> np.ndarray:
    overlay = np.zeros((*finite.shape, 4), np.uint8)
    overlay[~finite] = (*palettes.WEIGHT_PALETTE.colours[palettes.NOT_FINITE], 255)
    return overlay


def _colour(palette: Palette, index: int) -> tuple[float, float, float]:
    red, green, blue = palette.colours[index] / 255
    return float(red), float(green), float(blue)


def _add_bar(drawn: Figure, page: Page, bar: ColorBar) -> None:
    scale = bar.scale
    axes = drawn.add_axes(_rectangle(page, bar.x, bar.y, bar.width, bar.height))
    colour_bar = drawn.colorbar(ScalarMappable(scale.norm(), scale.palette.colour_map), cax=axes)
    colour_bar.outline.set_visible(False)
    colour_bar.set_ticks(list(scale.ticks), labels=[""] * len(scale.ticks))
    colour_bar.minorticks_off()
    axes.tick_params(length=page.tick_length, width=TICK_WIDTH, color=_INK)


def _add_block(drawn: Figure, page: Page, block: ColorBlock) -> None:
    x, y, width, height = _rectangle(page, block.x, block.y, block.width, block.height)
    colour = _colour(page.palette, block.index)
    drawn.add_artist(Rectangle((x, y), width, height, facecolor=colour, lw=0))


def _add_text(drawn: Figure, page: Page, text: Text) -> None:
    for offset, run in placed_runs(text):
        x, y = (text.x, text.y - offset) if text.upright else (text.x + offset, text.y)
        if run.picture is not None:
            _add_picture(drawn, page, text, (x, y), run)
            continue
        drawn.text(
            x / page.width,
            1 - y / page.height,
            run.string,
            fontproperties=font_properties(text.font, run.families),
            color=_INK,
            rotation=90 if text.upright else 0,
            rotation_mode="anchor",
            ha="left",
            va="baseline",
            parse_math=False,
        )


def _add_picture(
    drawn: Figure, page: Page, text: Text, at: tuple[float, float], run: TextRun
) -> None:
    """Add an emoji as a picture, sharper than the font is large."""
    assert run.picture is not None
    pixels = picture(run.string, run.picture)
    if pixels is None:
        return
    size, (x, y) = text.font.size, at
    width = picture_width(run.string, run.picture, size)
    below = round(BELOW_BASELINE * size)
    if text.upright:
        place = _rectangle(page, round(x) + below - size, round(y) - width, size, width)
        pixels = np.rot90(pixels)
    else:
        place = _rectangle(page, round(x), round(y) + below - size, width, size)
    axes = drawn.add_axes(place)
    axes.imshow(pixels, aspect="auto", interpolation="antialiased")
    axes.set_axis_off()
