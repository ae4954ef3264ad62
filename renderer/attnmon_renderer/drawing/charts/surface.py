"""The surface chart: one attention map as a landscape, whose height and colour are the weight."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from attnmon_renderer.drawing.charts.surface_mesh import surface_mesh
from attnmon_renderer.drawing.charts.surface_projection import EDGE, SurfaceProjection
from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.layout.cell_size import MapSide, merge_cells, merge_extremes
from attnmon_renderer.drawing.layout.panel_scale import shared_scale
from attnmon_renderer.drawing.layout.ticks import Ticks, position_ticks
from attnmon_renderer.drawing.spec.figure_data import HeatmapData
from attnmon_renderer.drawing.spec.page import ColorBar, Mesh, Page, Shape, Text
from attnmon_renderer.drawing.spec.palettes import INK, LEVELS, NOT_FINITE
from attnmon_renderer.drawing.spec.panel import Axis, MaskArray, Panel, Values
from attnmon_renderer.drawing.spec.scales import Scale
from attnmon_renderer.drawing.text.font_sizes import FontSizes
from attnmon_renderer.drawing.text.glyphs import text_width

_SIZES = FontSizes(1.0)
_WIDTH = 900
_MAX_CELLS = 64
"""The most cells a side."""
_TICK = 0.02
"""Length of a tick, in sides of the floor."""


def surface(data: HeatmapData) -> Page:
    """Lay out the map as a surface, pooled to at most 64 × 64 points."""
    return _SurfacePage(data).page()


@dataclass(frozen=True)
class _SurfacePage:
    data: HeatmapData

    def page(self) -> Page:
        front = int(self.projection.points(1, 1)[1])
        bar = ColorBar(_WIDTH - 160, self.top, 30, 4 * LEVELS, self.scale)
        legend = tuple(labels.legend_entries(self._legend_meanings(), bar.x, front - 70, _SIZES))
        return Page(
            _WIDTH,
            front + 70,
            self.scale.palette,
            _SIZES.tick_length,
            (),
            (bar,),
            tuple(block for block, _ in legend),
            (
                *self.header,
                *self._tick_labels(),
                *self._axis_titles(),
                *labels.color_bar_texts(bar, _SIZES),
                *(text for _, text in legend),
            ),
            tuple(self._tick_marks()),
            self._mesh(),
        )

    @cached_property
    def rows(self) -> MapSide:
        return _side(self.data.queries)

    @cached_property
    def columns(self) -> MapSide:
        return _side(self.data.keys)

    @cached_property
    def values(self) -> Values:
        return merge_extremes(self.data.values, self.rows.cells_merged, self.columns.cells_merged)

    @cached_property
    def masked(self) -> MaskArray:
        merged = self.rows.cells_merged, self.columns.cells_merged
        return merge_cells(self.data.masked, *merged, np.logical_and)

    @cached_property
    def scale(self) -> Scale:
        data = self.data
        panel = Panel("", data.values, data.masked, data.queries, data.keys)
        return shared_scale((panel,), data.top)

    @cached_property
    def header(self) -> tuple[Text, ...]:
        return tuple(labels.header_texts(self.data.caption, self._remarks(), _WIDTH, _SIZES))

    @cached_property
    def top(self) -> int:
        """Pixels from the page's upper edge to the surface and the colour bar."""
        return self.header[-1].y + 30

    @cached_property
    def projection(self) -> SurfaceProjection:
        return SurfaceProjection(_SIZES.margin + 22, self.top)

    @cached_property
    def key_ticks(self) -> Ticks:
        return position_ticks(self.columns, _SIZES.tick, across=True)

    @cached_property
    def query_ticks(self) -> Ticks:
        return position_ticks(self.rows, _SIZES.tick, across=True)

    def _remarks(self) -> Iterator[str]:
        merged = self.rows.cells_merged, self.columns.cells_merged
        if merged != (1, 1):
            yield f"each point is the largest of {merged[0]}×{merged[1]} cells"

    def _legend_meanings(self) -> Iterator[tuple[str, int]]:
        if self.masked.any():
            yield "masked", self.scale.palette.masked_index
        if not (np.isfinite(self.values) | self.masked).all():
            yield "not finite", NOT_FINITE

    def _tick_marks(self) -> Iterator[Shape]:
        """Yield the ticks along the two edges in front."""
        outwards = np.array([1, 1 + _TICK])
        for position in _tick_positions(self.key_ticks, self.columns):
            yield Shape(self.projection.points(outwards, position), INK, 2)
        for position in _tick_positions(self.query_ticks, self.rows):
            yield Shape(self.projection.points(position, outwards), INK, 2)

    def _tick_labels(self) -> Iterator[Text]:
        font, beyond = _SIZES.tick, 1 + 2 * _TICK
        positions = _tick_positions(self.key_ticks, self.columns)
        for position, label in zip(positions, self.key_ticks.labels, strict=True):
            x, y = self.projection.points(beyond, position).astype(int)
            yield Text(x - text_width(label, font), y + 16, label, font)
        positions = _tick_positions(self.query_ticks, self.rows)
        for position, label in zip(positions, self.query_ticks.labels, strict=True):
            x, y = self.projection.points(position, beyond).astype(int)
            yield Text(x, y + 16, label, font)

    def _axis_titles(self) -> Iterator[Text]:
        font = _SIZES.axis
        x, y = self.projection.points(1.15, 0.4).astype(int)
        yield Text(x - text_width("key position", font), y + 40, "key position", font)
        x, y = self.projection.points(0.5, 1.15).astype(int)
        yield Text(x, y + 24, "query position", font)

    def _mesh(self) -> Mesh:
        indices = self.scale.indices(self.values, self.masked)
        mesh = surface_mesh(indices, self.scale.palette.masked_index)
        corners = self.projection.points(mesh.queries[:, None], mesh.keys, mesh.heights)
        return Mesh(corners, mesh.colours)


def _side(axis: Axis) -> MapSide:
    """Return a side whose ticks are spaced as on the page; tokens would not be legible there."""
    merged = -(-axis.cells // _MAX_CELLS)
    return MapSide(replace(axis, tokens=()), merged, max(1, int(0.8 * EDGE / axis.cells * merged)))


def _tick_positions(ticks: Ticks, side: MapSide) -> list[float]:
    """Return where the ticks stand on an edge, whose ends are the first and the last cell."""
    if side.cells == 1:
        return [0.5]
    return [(offset / side.cell_pixels - 0.5) / (side.cells - 1) for offset in ticks.offsets]
