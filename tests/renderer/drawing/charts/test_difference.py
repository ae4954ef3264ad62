"""How a map changed: against matplotlib, and what its colours mean."""

import numpy as np
import pytest
from support.pictures import (
    CAPTION,
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    attention,
    columns_of,
    decoded,
    nothing_masked,
    rows_of,
)

from attnmon_renderer.drawing import Axis, render_png
from attnmon_renderer.drawing.charts.difference import difference
from attnmon_renderer.drawing.spec.figure_data import DifferenceData


def example(before: np.ndarray, after: np.ndarray) -> DifferenceData:
    queries, keys = before.shape
    masked = nothing_masked(queries, keys)
    before, after = before.astype(np.float32), after.astype(np.float32)
    return DifferenceData(CAPTION, before, after, masked, Axis(queries), Axis(keys))


def test_difference_is_matplotlibs_own() -> None:
    data = example(attention(2, 50, 40)[0], attention(2, 50, 40)[1])
    page = difference(data)
    assert_matplotlib_draws_the_same(decoded(render_png(page)), page)
    assert_texts_stand_apart(page)


def test_more_is_red_less_is_blue_and_no_change_nearly_white() -> None:
    data = example(np.array([[0.1, 0.5, 0.4]]), np.array([[0.5, 0.1, 0.4]]))
    page = difference(data)
    (area,) = page.maps
    pixels = decoded(render_png(page))[rows_of(area), columns_of(area)]
    cells = pixels[0, :: area.cell_width]
    more, less, same = cells.astype(int)
    assert more[0] > more[2] + 50
    assert less[2] > less[0] + 50
    assert same.min() > 230


def test_large_maps_keep_the_change_that_is_farthest_from_zero() -> None:
    """One cell that loses, among thousands that gain a little, is not lost in reducing them."""
    before, after = np.zeros((2048, 2048)), np.full((2048, 2048), 0.01)
    after[1000, 1000] = -0.5
    (area,) = difference(example(before, after)).maps
    assert area.values.shape == (1024, 1024)
    assert area.values.min() == -0.5


def test_infinite_weights_do_not_warn() -> None:
    infinite = np.full((3, 3), np.inf)
    texts = difference(example(infinite, infinite)).texts
    assert any("9 cells are not finite" in text.string for text in texts)


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="two of the same shape"):
        example(np.zeros((2, 2)), np.zeros((3, 2)))
