"""The colour scale that all panels of a page share."""

from collections.abc import Set

import numpy as np

from attnmon_renderer.drawing.spec.panel import Axis, Panel
from attnmon_renderer.drawing.spec.scales import Scale, rounded_top, weight_scale

_FEW_KEYS = 16
"""Fewer than one part in so many of what another query sees."""


def shared_scale(panels: tuple[Panel, ...], top: float | None) -> Scale:
    """The one of them all, up to `top`; None: a round number above the largest that tells."""
    top = rounded_top(max(map(largest_value, panels))) if top is None else top
    return weight_scale(top, weight_label({panel.keys for panel in panels}))


def weight_label(cells: Set[Axis]) -> str:
    """What the numbers of such cells are, along their keys."""
    steps = {keys.positions_per_cell if keys.cells_are_sums else 1 for keys in cells}
    if steps == {1}:
        return "attention weight"
    return f"weight of {steps.pop()} keys" if len(steps) == 1 else "weight of each cell's keys"


def largest_value(panel: Panel) -> float:
    """The largest magnitude that is a number and not masked; 0 where there is none.

    Queries that see few keys beside others do not count. The first of a causal map has a weight of
    1 whatever the model has learnt: all that it did learn would be dark.
    """
    seen = (~panel.masked).sum(axis=1)
    telling = seen * _FEW_KEYS >= seen.max()
    counts = np.isfinite(panel.values) & ~panel.masked & telling[:, None]
    return float(np.max(np.abs(panel.values), initial=0, where=counts))
