"""How much each position tells: which tokens are labelled where there is no room for all."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
