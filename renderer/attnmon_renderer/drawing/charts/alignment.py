"""The alignment chart: a map with the strongest key of each query, and the coverage of each key.

A mark stands at each query's strongest key. Above the map, a bar for each key shows its coverage,
which is the attention it gets from all queries together (Tu et al., "Modeling Coverage for Neural
Machine Translation", ACL 2016). A key without coverage is read by no query.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.charts.heatmaps import heatmap
from attnmon_renderer.drawing.layout.panel_page import PanelPageOptions
from attnmon_renderer.drawing.layout.strengths import strongest_marks
from attnmon_renderer.drawing.spec.figure_data import HeatmapData
from attnmon_renderer.drawing.spec.page import CellMap, ColorBlock, Font, Page, Text

_HEADROOM = 96
"""Pixels above the map for the bars and their label, on a page of unit 1."""
_BARS = 0.6
"""Height of the tallest bar, as a fraction of the headroom."""
_GREY = 150


def alignment(data: HeatmapData) -> Page:
    """Lay out the map with a mark at each query's strongest key, and the coverage of the keys."""
    page = heatmap(data, PanelPageOptions(mark_meaning="strongest key", headroom=_HEADROOM))
    (area,) = page.maps
    coverage = _coverage(data, area.values.shape[1])
    font = next(text.font for text in reversed(page.texts))
    unit = page.tick_length / 7
    base = area.y - round(6 * unit)
    tallest = round(_BARS * _HEADROOM * unit)
    label = Text(
        area.x,
        base - tallest - round(8 * unit),
        f"coverage (√ scale), up to {coverage.max(initial=0):.2g}",
        Font(font.size),
    )
    bars = _bars(area, coverage, base, tallest)
    return replace(
        page,
        maps=(replace(area, is_marked=True),),
        blocks=(*page.blocks, *strongest_marks(area), *bars),
        texts=(*page.texts, label),
    )


def _coverage(data: HeatmapData, cells: int) -> NDArray[np.float64]:
    """Return the attention that the keys of each drawn cell get from all queries together."""
    counts = np.isfinite(data.values) & ~data.masked
    weights = np.where(counts, data.values, 0).sum(axis=0, dtype=np.float64)
    merged = -(-len(weights) // cells)
    starts = np.arange(0, len(weights), merged)
    return np.asarray(np.add.reduceat(weights, starts)) * data.queries.positions_per_cell


def _bars(
    area: CellMap, coverage: NDArray[np.float64], base: int, tallest: int
) -> Iterator[ColorBlock]:
    gap = 1 if area.cell_width > 3 else 0
    share = coverage / max(coverage.max(initial=0), 1e-9)
    heights = np.rint(np.sqrt(np.maximum(share, 0)) * tallest).astype(int)
    for column, height in enumerate(heights):
        x = area.x + column * area.cell_width
        if height:
            yield ColorBlock(x, base - int(height), area.cell_width - gap, int(height), _GREY)
