"""The colour scale that all panels of a page share."""

from collections.abc import Set

import numpy as np

from attnmon_renderer.drawing.spec.panel import Axis, Panel
from attnmon_renderer.drawing.spec.scales import Scale, rounded_top, weight_scale

_FEW_KEYS = 16
"""A query that sees less than 1/16 of the keys that another query sees does not set the scale."""


def shared_scale(panels: tuple[Panel, ...], top: float | None) -> Scale:
    """Return the scale of all panels, from 0 to `top`.

    None chooses a round number above the `largest_value` of the panels.
    """
    top = rounded_top(max(map(largest_value, panels))) if top is None else top
    return weight_scale(top, weight_label({panel.keys for panel in panels}))


def weight_label(cells: Set[Axis]) -> str:
    """Return what the numbers of cells with these key axes are, such as "weight of 4 keys"."""
    steps = {keys.positions_per_cell if keys.cells_are_sums else 1 for keys in cells}
    if steps == {1}:
        return "attention weight"
    return f"weight of {steps.pop()} keys" if len(steps) == 1 else "weight of each cell's keys"


def largest_value(panel: Panel) -> float:
    """Return the largest magnitude of a finite value that is not masked, or 0 if there is none.

    Queries that see far fewer keys than others do not count. The first query of a causal map has a
    weight of 1 whatever the model has learnt; on a scale up to 1, what it has learnt would be dark.
    """
    magnitudes = np.abs(panel.values)
    if not panel.masked.any() and np.isfinite(largest := magnitudes.max()):
        return float(largest)
    seen = np.count_nonzero(~panel.masked, axis=1)
    telling = seen * _FEW_KEYS >= seen.max()
    counts = np.isfinite(panel.values) & ~panel.masked & telling[:, None]
    return float(np.max(magnitudes, initial=0, where=counts))
