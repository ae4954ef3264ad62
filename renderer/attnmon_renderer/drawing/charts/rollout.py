"""The rollout chart: how much of each input token reaches each position through all layers.

Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 4 and appendix:
the residual connection counts half, and the layers' matrices are multiplied.
"""

from collections.abc import Sequence

import numpy as np

from attnmon_renderer.drawing.layout.panel_page import PanelPageOptions, panel_page
from attnmon_renderer.drawing.layout.panel_scale import largest_value
from attnmon_renderer.drawing.spec.figure_data import RolloutData
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.panel import Panel, Values
from attnmon_renderer.drawing.spec.scales import rounded_top, weight_scale


def rollout(data: RolloutData) -> Page:
    """Lay out the rollout: rows are positions above the last layer, columns the input's tokens."""
    flow = attention_flow(data.layers)
    panel = Panel("", flow, flow == 0, data.positions, data.positions)
    top = rounded_top(largest_value(panel)) if data.top is None else data.top
    scale = weight_scale(top, "flow of attention")
    return panel_page(data.caption, (panel,), 1, scale, PanelPageOptions(masked_meaning="no path"))


def attention_flow(layers: Sequence[Values]) -> Values:
    """Return the product of the layers' (A + I) / 2, each with normalised rows.

    The result is [positions, positions], and its rows sum to 1.
    """
    flow = np.eye(len(layers[0]))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for layer in layers:
            mixed = (layer + np.eye(len(layer))) / 2
            flow = (mixed / mixed.sum(axis=1, keepdims=True)) @ flow
    return flow.astype(np.float32)
