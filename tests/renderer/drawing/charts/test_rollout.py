"""Attention rollout, against the paper's formula written out in float64."""

import numpy as np
import pytest
from support.pictures import (
    CAPTION,
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    attention,
    decoded,
)

from attnmon_renderer.drawing import Axis, render_png
from attnmon_renderer.drawing.charts.rollout import attention_flow, rollout
from attnmon_renderer.drawing.spec.figure_data import RolloutData


def test_rollout_is_the_papers_product() -> None:
    """R = A_L · … · A_1 with A = (W + I) / 2: written as a chain of explicit sums over paths."""
    layers = attention(3, 5, 5)
    first, second, third = ((layer.astype(np.float64) + np.eye(5)) / 2 for layer in layers)
    expected = np.einsum("ij,jk,kl->il", third, second, first)
    assert attention_flow(layers) == pytest.approx(expected, abs=1e-6)


def test_rows_sum_to_one_and_causality_is_kept() -> None:
    flow = attention_flow(attention(6, 30, 30, causal=True))
    assert flow.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (np.triu(flow, 1) == 0).all()


def test_rollout_is_matplotlibs_own() -> None:
    data = RolloutData(CAPTION, tuple(attention(4, 30, 30, causal=True)), Axis(30))
    page = rollout(data)
    assert_matplotlib_draws_the_same(decoded(render_png(page)), page)
    assert_texts_stand_apart(page)
    assert any(text.string == "no path" for text in page.texts)


def test_a_nan_in_one_layer_shows_and_does_not_warn() -> None:
    layers = attention(3, 6, 6)
    layers[1, 2, 3] = np.nan
    page = rollout(RolloutData(CAPTION, tuple(layers), Axis(6)))
    assert any("not finite" in text.string for text in page.texts)


@pytest.mark.parametrize(
    ("layers", "axis"),
    [
        ((np.eye(4),), Axis(5)),
        ((np.ones((4, 5)),), Axis(4)),
        ((np.eye(4),), Axis(8, 2)),
        ((), Axis(4)),
    ],
)
def test_pooled_or_oblong_maps_are_refused(layers: tuple[np.ndarray, ...], axis: Axis) -> None:
    with pytest.raises(ValueError, match="rollout takes square maps"):
        RolloutData(CAPTION, layers, axis)
