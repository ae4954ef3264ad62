"""One attention map as a landscape: height and colour are the weight. A showpiece.

Seen from above a corner, in parallel projection: the first query and the first key meet at the
back, so that drawing row by row lets what is in front hide what is behind. Pure: from numbers to a
finished PNG.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.charts.surface_mesh import surface_mesh
from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.layout.cell_size import MapSide, merge_cells, merge_extremes
from attnmon_renderer.drawing.layout.font_sizes import FontSizes
from attnmon_renderer.drawing.layout.panel_scale import shared_scale
from attnmon_renderer.drawing.layout.ticks import Ticks, place_ticks
from attnmon_renderer.drawing.spec.figure_data import HeatmapData
from attnmon_renderer.drawing.spec.page import ColorBar, Mesh, Page, Shape, Text
from attnmon_renderer.drawing.spec.palettes import INK, LEVELS, NOT_FINITE
from attnmon_renderer.drawing.spec.panel import Axis, MaskArray, Panel, Values
from attnmon_renderer.drawing.spec.scales import Scale
from attnmon_renderer.drawing.text.glyphs import text_width

_SIZES = FontSizes(1.0)
_WIDTH = 900
_SIDE = 64
"""Cells a side, at most."""
_TURN, _TILT = np.radians(32), np.radians(38)
_EDGE, _TALLEST = 468, 150
"""Pixels: a side of the floor before it is tilted, and the height of the largest weight."""
_TICK = 0.02
"""Length of a tick, in sides of the floor."""

Points = float | NDArray[np.float64]


def surface(data: HeatmapData) -> Page:
    """Lay out the map as a surface, pooled to at most 64 × 64 points."""
    return _Surface(data).page()


@dataclass(frozen=True)
class _Surface:
    data: HeatmapData

    def page(self) -> Page:
        front = int(self._seen(1, 1)[1])
        bar = ColorBar(_WIDTH - 160, self.upper, 30, 4 * LEVELS, self.scale)
        legend = tuple(labels.legend_entries(self._signs(), bar.x, front - 70, _SIZES))
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
                *self._names(),
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
        given = self.data
        panel = Panel("", given.values, given.masked, given.queries, given.keys)
        return shared_scale((panel,), given.top)

    @cached_property
    def header(self) -> tuple[Text, ...]:
        return tuple(labels.header_texts(self.data.caption, self._remarks(), _WIDTH, _SIZES))

    @cached_property
    def upper(self) -> int:
        return self.header[-1].y + 30

    def _remarks(self) -> Iterator[str]:
        merged = self.rows.cells_merged, self.columns.cells_merged
        if merged != (1, 1):
            yield f"each point is the largest of {merged[0]}×{merged[1]} cells"

    def _signs(self) -> Iterator[tuple[str, int]]:
        if self.masked.any():
            yield "masked", self.scale.palette.masked_index
        if not (np.isfinite(self.values) | self.masked).all():
            yield "not finite", NOT_FINITE

    def _seen(self, query: Points, key: Points, height: Points = 0.0) -> NDArray[np.float64]:
        """[..., 2]: where a point of the unit cube is on the page."""
        right, towards = np.cos(_TURN), np.sin(_TURN) * np.sin(_TILT)
        left, near = np.sin(_TURN), np.cos(_TURN) * np.sin(_TILT)
        x = _SIZES.margin + 22 + _EDGE * (left + key * right - query * left)
        y = self.upper + _TALLEST + _EDGE * (key * towards + query * near) - height * _TALLEST
        return np.stack(np.broadcast_arrays(x, y), axis=-1)

    @cached_property
    def key_ticks(self) -> Ticks:
        return _ticks(self.columns)

    @cached_property
    def query_ticks(self) -> Ticks:
        return _ticks(self.rows)

    def _tick_marks(self) -> Iterator[Shape]:
        """Along the two edges in front."""
        for share in _shares(self.key_ticks, self.columns):
            yield Shape(self._seen(np.array([1, 1 + _TICK]), share), INK, 2)
        for share in _shares(self.query_ticks, self.rows):
            yield Shape(self._seen(share, np.array([1, 1 + _TICK])), INK, 2)

    def _names(self) -> Iterator[Text]:
        font, axis = _SIZES.tick, _SIZES.axis
        for share, label in zip(
            _shares(self.key_ticks, self.columns), self.key_ticks.labels, strict=True
        ):
            x, y = self._seen(1 + 2 * _TICK, share).astype(int)
            yield Text(x - text_width(label, font), y + 16, label, font)
        for share, label in zip(
            _shares(self.query_ticks, self.rows), self.query_ticks.labels, strict=True
        ):
            x, y = self._seen(share, 1 + 2 * _TICK).astype(int)
            yield Text(x, y + 16, label, font)
        x, y = self._seen(1.15, 0.4).astype(int)
        yield Text(x - text_width("key position", axis), y + 40, "key position", axis)
        x, y = self._seen(0.5, 1.15).astype(int)
        yield Text(x, y + 24, "query position", axis)

    def _mesh(self) -> Mesh:
        indices = self.scale.indices(self.values, self.masked)
        land = surface_mesh(indices, self.scale.palette.masked_index)
        return Mesh(self._seen(land.queries[:, None], land.keys, land.heights), land.colours)


def _side(axis: Axis) -> MapSide:
    merged = -(-axis.cells // _SIDE)
    return MapSide(replace(axis, tokens=()), merged, max(1, int(0.8 * _EDGE / axis.cells * merged)))


def _ticks(side: MapSide) -> Ticks:
    return place_ticks(side, _SIZES.tick, across=True)


def _shares(ticks: Ticks, side: MapSide) -> list[float]:
    """Where ticks stand on an edge, 0 … 1: the first and the last value are its ends."""
    if side.cells == 1:
        return [0.5]
    return [(offset / side.cell_pixels - 0.5) / (side.cells - 1) for offset in ticks.offsets]
