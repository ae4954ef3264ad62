"""How much each position tells: which tokens are labelled, and which cells are marked."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.spec.page import CellMap, ColorBlock
from attnmon_renderer.drawing.spec.palettes import MARK
from attnmon_renderer.drawing.spec.panel import Panel


def key_strengths(panels: Sequence[Panel]) -> NDArray[np.float64]:
    """Return [keys] the mean weight on each key, over the queries that may attend to it.

    Empty if keys are pooled: a cell's weight is that of any of its keys.
    """
    if panels[0].keys.positions_per_cell > 1:
        return np.empty(0)
    sums = np.sum([_weights(panel).sum(axis=0) for panel in panels], axis=0)
    counts = np.sum([_counting(panel).sum(axis=0) for panel in panels], axis=0)
    return np.asarray(sums / np.maximum(counts, 1))


def query_strengths(panels: Sequence[Panel]) -> NDArray[np.float64]:
    """Return [queries] the largest weight of each query, averaged over the panels.

    A query that sees a single key must put all its weight there, which tells nothing: it is 0.
    Empty if queries are pooled.
    """
    if panels[0].queries.positions_per_cell > 1:
        return np.empty(0)
    largest = [_weights(panel).max(axis=1) for panel in panels]
    chosen = [_counting(panel).sum(axis=1) > 1 for panel in panels]
    return np.asarray(np.mean(np.multiply(largest, chosen), axis=0))


def _counting(panel: Panel) -> NDArray[np.bool_]:
    return np.isfinite(panel.values) & ~panel.masked


def _weights(panel: Panel) -> NDArray[np.float64]:
    return np.where(_counting(panel), np.abs(panel.values), 0).astype(np.float64)


def strongest_marks(area: CellMap) -> Iterator[ColorBlock]:
    """Yield a mark in the middle of each row's largest cell."""
    width, height = _mark(area.cell_width), _mark(area.cell_height)
    counts = np.isfinite(area.values) & ~area.masked
    weights = np.where(counts, area.values, -np.inf)
    for row in np.flatnonzero(counts.any(axis=1)):
        x = area.x + int(weights[row].argmax()) * area.cell_width
        y = area.y + int(row) * area.cell_height
        left, above = (area.cell_width - width) // 2, (area.cell_height - height) // 2
        yield ColorBlock(x + left, y + above, width, height, MARK)


def _mark(pixels: int) -> int:
    return pixels if pixels < 3 else max(2, pixels // 3)
