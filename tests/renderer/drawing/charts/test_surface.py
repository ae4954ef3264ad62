"""One map as a landscape: against matplotlib, and where its peaks stand."""

from dataclasses import replace

import numpy as np
import pytest
from support.pictures import (
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    attention,
    decoded,
    heatmap_data,
)

from attnmon_renderer.drawing import render_png
from attnmon_renderer.drawing.charts.surface import surface
from attnmon_renderer.drawing.spec.palettes import LEVELS, NOT_FINITE, WEIGHT_PALETTE


@pytest.mark.parametrize("shape", [(29, 26), (128, 128), (1, 1), (1, 7), (300, 5)])
def test_surface_is_matplotlibs_own(shape: tuple[int, int]) -> None:
    data = heatmap_data(attention(2, *shape)[1])
    page = surface(data)
    assert_matplotlib_draws_the_same(decoded(render_png(page)), page)
    assert_texts_stand_apart(page)


def test_the_largest_weight_is_the_highest_point_and_brightest() -> None:
    values = np.full((8, 8), 0.01)
    values[4, 4] = 1.0
    mesh = surface(heatmap_data(values)).mesh
    flat = surface(replace(heatmap_data(np.zeros((8, 8))), top=1.0)).mesh
    assert mesh is not None
    assert flat is not None
    heights = flat.corners[..., 1] - mesh.corners[..., 1]
    peak = np.unravel_index(heights.argmax(), heights.shape)
    around = mesh.indices[peak[0] - 1 : peak[0] + 1, peak[1] - 1 : peak[1] + 1]
    assert (around == LEVELS - 1).all()
    share = np.array(peak) / (np.array(mesh.indices.shape) - 1)
    assert share == pytest.approx([4 / 7, 4 / 7])


def test_large_maps_are_pooled_and_say_so() -> None:
    values = np.full((2048, 2048), 1e-4)
    values[1000, 1000] = 0.8
    page = surface(heatmap_data(values))
    assert any("the largest of 32×32" in text.string for text in page.texts)
    assert page.mesh is not None
    assert page.mesh.indices.size < 17_000
    assert (page.mesh.indices == LEVELS - 1).any()


def test_masked_and_not_finite_have_their_colours_and_no_height() -> None:
    values = np.ones((6, 6))
    values[2] = np.nan
    masked = np.zeros((6, 6), np.bool_)
    masked[4:] = True
    page = surface(heatmap_data(values, masked))
    assert page.mesh is not None
    assert {NOT_FINITE, WEIGHT_PALETTE.masked_index} <= set(page.mesh.indices.ravel().tolist())
    assert {"masked", "not finite"} <= {text.string for text in page.texts}
