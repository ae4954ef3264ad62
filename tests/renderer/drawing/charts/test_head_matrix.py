"""One number a head, layer by layer."""

from collections.abc import Sequence

import numpy as np
import pytest
from support.pictures import (
    CAPTION,
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    decoded,
)

from attnmon_renderer.drawing import render_png
from attnmon_renderer.drawing.charts.head_matrix import head_matrix
from attnmon_renderer.drawing.spec.figure_data import HeadMatrixData
from attnmon_renderer.drawing.spec.scales import Scale

Layers = Sequence[tuple[str, Sequence[float]]]


def example(layers: Layers, low: float | None = None, high: float | None = None) -> HeadMatrixData:
    return HeadMatrixData(CAPTION, "entropy (of its maximum)", tuple(layers), low, high)


@pytest.mark.parametrize(("layers", "heads"), [(6, 8), (1, 1), (32, 32), (2, 40)])
def test_matrix_is_matplotlibs_own(layers: int, heads: int) -> None:
    numbers = np.random.default_rng(0).random((layers, heads))
    data = example([(f"decoder {n} cross", row) for n, row in enumerate(numbers)], 0, 1)
    page = head_matrix(data)
    assert_matplotlib_draws_the_same(decoded(render_png(page)), page)
    assert_texts_stand_apart(page)


def test_layers_are_named_and_missing_heads_said() -> None:
    page = head_matrix(example([("encoder 0", [0.1, 0.2, 0.3]), ("encoder 1", [0.5])]))
    texts = [text.string for text in page.texts]
    assert {"encoder 0", "encoder 1", "no such head", "layer", "head"} <= set(texts)
    assert page.maps[0].masked.tolist() == [[False] * 3, [False, True, True]]


def scale_of(data: HeadMatrixData) -> Scale:
    return head_matrix(data).maps[0].scale


def test_scale_is_that_of_the_numbers_unless_given() -> None:
    layers = [("0", [0.2, 0.7, float("nan")])]
    own, given = scale_of(example(layers)), scale_of(example(layers, 0, 1))
    assert (own.low, own.high) == pytest.approx((0.2, 0.7))
    assert (given.low, given.high) == (0, 1)


@pytest.mark.parametrize("numbers", [[3.0, 3.0], [float("nan")]])
def test_equal_numbers_and_none_have_a_scale_too(numbers: list[float]) -> None:
    scale = scale_of(example([("0", numbers)]))
    assert scale.high - scale.low == 1


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        example([("0", [])])
