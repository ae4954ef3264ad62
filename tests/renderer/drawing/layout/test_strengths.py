"""How much each key and query tells, against numbers worked out by hand."""

import numpy as np

from attnmon_renderer.drawing.layout.strengths import key_strengths, query_strengths
from attnmon_renderer.drawing.spec.panel import Axis, Panel


def panel(values: list[list[float]], masked: list[list[int]]) -> Panel:
    array = np.array(values, np.float32)
    rows, columns = array.shape
    return Panel("", array, np.array(masked, np.bool_), Axis(rows), Axis(columns))


CAUSAL = panel([[1, 0, 0], [0.25, 0.75, 0], [0.5, 0, 0.5]], [[0, 1, 1], [0, 0, 1], [0, 0, 0]])


def test_a_key_is_as_strong_as_those_who_may_see_it_find_it() -> None:
    assert key_strengths([CAUSAL]).tolist() == [1.75 / 3, 0.375, 0.5]


def test_a_query_is_as_strong_as_its_largest_weight_if_it_has_a_choice() -> None:
    assert query_strengths([CAUSAL]).tolist() == [0, 0.75, 0.5]


def test_panels_count_together_and_what_is_not_finite_does_not() -> None:
    other = panel([[np.nan, -1, 0]] * 3, [[0, 0, 0]] * 3)
    assert key_strengths([other]).tolist() == [0, 1, 0]
    assert query_strengths([CAUSAL, other]).tolist() == [0.5, 0.875, 0.75]
