"""From numbers to colours, against matplotlib's norms; where scales end and have ticks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnmon_renderer.drawing.spec.scales import (
    Scale,
    change_scale,
    linear_scale,
    rounded_top,
    weight_scale,
)

SCALES = (weight_scale(0.8), change_scale(0.3), linear_scale("entropy", 0.25, 0.9))


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
def test_indices_are_what_matplotlib_computes(scale: Scale) -> None:
    values = np.random.default_rng(0).normal(0.2, 0.4, (400, 400)).astype(np.float32)
    shown = np.clip(values, scale.low, scale.high)
    expected = scale.palette.colour_map(scale.norm()(shown), bytes=True)[..., :3]
    index = scale.indices(values, np.zeros(values.shape, np.bool_))
    assert np.array_equal(scale.palette.colours[index], expected)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
def test_the_bar_has_its_ends_at_the_ends(scale: Scale) -> None:
    assert scale.fraction(scale.low) == 0
    assert scale.fraction(scale.high) == 1


def test_no_change_is_in_the_middle_and_a_quarter_is_at_half() -> None:
    assert change_scale(0.5).fraction(0) == 0.5
    assert weight_scale(0.8).fraction(0.2) == pytest.approx(0.5)
    assert linear_scale("x", 2, 4).fraction(2.5) == 0.25


@given(st.floats(1e-30, 1e30))
def test_a_scale_ends_at_a_round_number_close_above(maximum: float) -> None:
    top = rounded_top(maximum)
    assert maximum <= top * (1 + 1e-4)
    assert top < 1.51 * maximum
    assert float(f"{top:.1e}") == pytest.approx(top)


def test_float32_is_no_reason_for_a_larger_scale() -> None:
    tops = [rounded_top(float(np.float32(x))) for x in (0.2, 0.3, 0.8, 1.0000001)]
    assert tops == [0.2, 0.3, 0.8, 1]


@pytest.mark.parametrize("maximum", [0.0, -1.0, float("nan")])
def test_a_scale_of_nothing_ends_at_one(maximum: float) -> None:
    assert rounded_top(maximum) == 1


@given(st.floats(1e-6, 10), st.sampled_from([weight_scale, change_scale]))
def test_ticks_of_roots_are_few_and_apart(maximum: float, made: type[Scale]) -> None:
    scale = made(rounded_top(maximum))
    places = [scale.fraction(tick) for tick in scale.ticks]
    assert (places[0], places[-1]) == (0, 1)
    assert 0 in scale.ticks
    assert 3 <= len(places) <= 8
    assert np.diff(places).min() > 0.12


@given(st.floats(-100, 100), st.floats(1e-3, 100))
def test_ticks_of_a_linear_scale_lie_on_it_and_apart(low: float, size: float) -> None:
    scale = linear_scale("x", low, low + size)
    places = [scale.fraction(tick) for tick in scale.ticks]
    assert 2 <= len(places) <= 8
    assert min(places) >= -1e-3
    assert max(places) <= 1 + 1e-3
    assert np.diff(places).min() > 0.13
