"""Curves in pixels: where they stand, where they are broken, and what many captures become."""

import numpy as np
import pytest

from attnmon_renderer.drawing.charts.curves import (
    PlotFrame,
    band_shapes,
    line_shapes,
    thin_out,
    value_range,
)
from attnmon_renderer.drawing.spec.figure_data import HeadRange

FRAME = PlotFrame(100, 50, 200, 40, first=0, last=10, low=0, high=1)
NAN = float("nan")


def test_numbers_are_clipped_to_the_frame() -> None:
    assert FRAME.down(np.array([0.0, 1.0, 0.5, -3.0, 3.0])).tolist() == [90, 50, 70, 90, 50]
    assert FRAME.across(np.array([0.0, 5.0, 10.0])).tolist() == [100, 200, 300]


def test_a_single_step_stands_in_the_middle() -> None:
    frame = PlotFrame(100, 50, 200, 40, first=7, last=7, low=0, high=1)
    assert frame.across(np.array([7.0])).tolist() == [200]


def test_a_line_is_broken_at_gaps_and_a_single_number_is_a_dot() -> None:
    numbers = np.array([0.0, 0.5, NAN, 1.0, NAN])
    whole, dot = line_shapes(FRAME, np.arange(5.0), numbers, grey=82, width=2.0)
    assert (len(whole.points), whole.line_width) == (2, 2.0)
    assert (len(dot.points), dot.line_width) == (2, 8.0)
    assert np.ptp(dot.points[:, 0]) == 1


def test_a_band_encloses_the_area_between_its_curves() -> None:
    lower, upper = np.array([0.0, 0.0, NAN]), np.array([1.0, 0.5, 1.0])
    (band,) = band_shapes(FRAME, np.array([0.0, 10.0, 20.0]), lower, upper)
    assert band.points.tolist() == [[100, 50], [300, 70], [300, 90], [100, 90]]
    assert band.line_width == 0


def test_captures_on_one_pixel_keep_their_extremes() -> None:
    numbers = np.full((1000, 3), 0.5)
    numbers[321, 1], numbers[322, 2], numbers[323] = 0.0, 1.0, NAN
    steps, heads = thin_out(np.arange(1000.0), HeadRange.of_heads(numbers), 10)
    assert len(steps) == len(heads.low) == len(heads.high) == len(heads) == 10
    assert (heads.low.min(), heads.high.max()) == (0, 1)
    assert heads.mean == pytest.approx(0.5, abs=1e-9)


def test_means_are_over_the_heads_that_have_a_number() -> None:
    numbers = np.array([[1.0, 3.0], [NAN, 2.0], [NAN, NAN]])
    assert HeadRange.of_heads(numbers).mean.tolist() == pytest.approx([2, 2, NAN], nan_ok=True)


@pytest.mark.parametrize(
    ("numbers", "limits"),
    [([0.2, NAN, 0.7], (0.2, 0.7)), ([3.0, 3.0], (2.5, 3.5)), ([NAN], (0, 1)), ([], (0, 1))],
)
def test_a_range_is_never_empty(numbers: list[float], limits: tuple[float, float]) -> None:
    assert value_range(np.array(numbers)) == limits
