"""The view of a surface: what is nearer stands lower on the page, what is higher stands above."""

import numpy as np
import pytest

from attnmon_renderer.drawing.charts.surface_projection import HEIGHT, SurfaceProjection

VIEW = SurfaceProjection(left=48, top=150)


def test_the_rear_corner_is_the_highest_and_the_front_corner_the_lowest_of_the_floor() -> None:
    corners = {(q, k): VIEW.points(q, k)[1] for q in (0, 1) for k in (0, 1)}
    assert min(corners, key=lambda corner: corners[corner]) == (0, 0)
    assert max(corners, key=lambda corner: corners[corner]) == (1, 1)


def test_the_left_corner_is_that_of_the_last_query_and_the_first_key() -> None:
    assert VIEW.points(1, 0)[0] == pytest.approx(48)
    assert VIEW.points(0, 1)[0] > VIEW.points(1, 1)[0]


def test_the_largest_weight_reaches_the_upper_edge() -> None:
    assert VIEW.points(0, 0, 1)[1] == pytest.approx(150)
    assert VIEW.points(0.3, 0.4)[1] - VIEW.points(0.3, 0.4, 1)[1] == pytest.approx(HEIGHT)


def test_arrays_broadcast() -> None:
    rows, columns = np.linspace(0, 1, 3)[:, None], np.linspace(0, 1, 4)
    assert VIEW.points(rows, columns, np.zeros((3, 4))).shape == (3, 4, 2)
