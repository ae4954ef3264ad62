"""The palette and the scale of attention weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import FuncNorm

from attnmon_renderer.drawing import colours
from attnmon_renderer.drawing.colours import LEVELS, PALETTE, scale_ticks, top_of


def test_greys_stand_at_their_own_value() -> None:
    """So letters can be drawn on the palette's indices as if they were greys."""
    greys = np.arange(colours.INK, 256)
    assert (PALETTE[greys] == greys[:, None]).all()


def test_no_level_is_taken_for_masked_or_not_finite() -> None:
    levels = PALETTE[:LEVELS].astype(int)
    for other in ((colours.MASKED,) * 3, colours.NOT_FINITE_COLOUR):
        assert np.abs(levels - other).sum(axis=1).min() > 100
    assert (np.diff(levels @ (0.2126, 0.7152, 0.0722)) > 0).all(), "lighter must mean more"


def test_indices_are_what_matplotlib_computes() -> None:
    values = np.random.default_rng(0).random((400, 400)).astype(np.float32) ** 4
    norm = FuncNorm((np.sqrt, np.square), vmin=0, vmax=0.8)
    expected = colours.COLOUR_MAP(norm(np.clip(values, 0, 0.8)), bytes=True)[..., :3]
    index = colours.indices(values, np.zeros(values.shape, np.bool_), 0.8)
    assert np.array_equal(PALETTE[index], expected)


@given(st.floats(1e-30, 1e30))
def test_the_scale_ends_at_a_round_number_close_above(maximum: float) -> None:
    top = top_of(maximum)
    assert maximum <= top * (1 + 1e-5)
    assert top < 1.51 * maximum
    assert float(f"{top:.1e}") == pytest.approx(top)


def test_float32_is_no_reason_for_a_larger_scale() -> None:
    assert [top_of(float(np.float32(x))) for x in (0.2, 0.3, 0.8, 1.0000001)] == [0.2, 0.3, 0.8, 1]


@pytest.mark.parametrize("maximum", [0.0, -1.0, float("nan")])
def test_a_scale_of_nothing_ends_at_one(maximum: float) -> None:
    assert top_of(maximum) == 1


@given(st.floats(1e-6, 10))
def test_scale_ticks_are_few_and_apart(maximum: float) -> None:
    top = top_of(maximum)
    ticks = scale_ticks(top)
    places = np.sqrt(np.array(ticks) / top)
    assert ticks[0] == 0
    assert ticks[-1] == top
    assert 3 <= len(ticks) <= 8
    assert np.diff(places).min() > 0.12
