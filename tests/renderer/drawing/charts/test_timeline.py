"""Statistics over the steps of a run: against matplotlib, and what the rows say."""

from dataclasses import replace

import numpy as np
import pytest
from support.pictures import (
    CAPTION,
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    decoded,
)

from attnmon_renderer.drawing import render_png
from attnmon_renderer.drawing.charts.curves import BACKGROUND, BAND
from attnmon_renderer.drawing.charts.timeline import timeline
from attnmon_renderer.drawing.spec.figure_data import AlertSpan, HeadRange, TimelineData
from attnmon_renderer.drawing.spec.page import Shape


def example(layers: int, captures: int, heads: int = 4) -> TimelineData:
    random = np.random.default_rng(layers)
    steps = np.arange(captures) * 50
    numbers = [
        (f"decoder {layer} cross", HeadRange.of_heads(random.random((captures, heads))))
        for layer in range(layers)
    ]
    return TimelineData(
        CAPTION, "entropy", steps.tolist(), tuple(numbers), random.random(captures).tolist(), 0, 1
    )


ROWS = frozenset({"decoder 0 cross"})
ALERTS = (
    AlertSpan("attention_collapse", "warn", 100, 150, ROWS),
    AlertSpan("nonfinite", "error", 500, 2000, frozenset({"loss"})),
)


def bands(data: TimelineData) -> list[Shape]:
    return [shape for shape in timeline(data).shapes if shape.grey == BAND]


@pytest.mark.parametrize("shape", [(6, 40), (1, 1), (2, 3000), (30, 20), (1, 2)])
def test_timeline_is_matplotlibs_own(shape: tuple[int, int]) -> None:
    data = example(*shape)
    page = timeline(data)
    assert_matplotlib_draws_the_same(decoded(render_png(page)), page)
    assert_texts_stand_apart(page)


def test_alerts_are_named_and_marked_where_they_fired() -> None:
    quiet = example(6, 40)
    page = timeline(replace(quiet, alerts=ALERTS))
    pixels = decoded(render_png(page))
    assert_matplotlib_draws_the_same(pixels, page)
    assert_texts_stand_apart(page)
    texts = [text.string for text in page.texts]
    assert {"attention_collapse", "nonfinite", "warn", "error"} <= set(texts)
    assert not {"info", "logit_growth"} & set(texts)
    orange, red = (pixels == [255, 127, 14]).all(-1), (pixels == [214, 39, 40]).all(-1)
    assert orange.any()
    assert red.any()
    # Below the lanes, orange is in the first layer's row alone, and red in that of the loss.
    rows = [shape.points for shape in page.shapes if shape.grey == BACKGROUND]
    first, loss = (row[:, 1][[0, 2]].astype(int).tolist() for row in (rows[0], rows[-1]))
    found = [{y for y in np.flatnonzero(c.any(1)) if y >= first[0]} for c in (orange, red)]
    assert found == [set(range(*first)), set(range(*loss))]


def test_a_band_reaches_from_the_lowest_head_to_the_highest() -> None:
    numbers = np.array([[0.0, 0.5], [0.25, 1.0]])
    data = replace(example(1, 2), layers=(("0", HeadRange.of_heads(numbers)),))
    background, band = timeline(data).shapes[:2]
    assert (background.grey, band.grey) == (BACKGROUND, BAND)
    lower, upper = background.points[:, 1].max(), background.points[:, 1].min()
    share = (lower - band.points[:, 1]) / (lower - upper)
    assert share == pytest.approx([0.5, 1.0, 0.25, 0.0])


def test_missing_numbers_leave_a_gap() -> None:
    numbers = np.linspace(0, 1, 20).reshape(10, 2)
    numbers[4:6] = np.nan
    unbroken = HeadRange.of_heads(numbers[:4].repeat(3, axis=0)[:10])
    whole = replace(example(1, 10), layers=(("0", unbroken),))
    assert len(bands(whole)) == 1
    assert len(bands(replace(whole, layers=(("0", HeadRange.of_heads(numbers)),)))) == 2


def test_a_spike_is_not_lost_among_thousands_of_captures() -> None:
    numbers = np.full((20_000, 2), 0.5)
    numbers[7777, 1] = 1.0
    data = replace(example(1, 20_000), layers=(("0", HeadRange.of_heads(numbers)),))
    (band,) = bands(data)
    assert len(band.points) < 2000
    background = timeline(data).shapes[0].points[:, 1]
    assert band.points[:, 1].min() == background.min()


def test_rows_end_with_where_the_run_stands() -> None:
    numbers = np.array([[0.1, 0.3], [0.5, 0.7]])
    data = replace(
        example(1, 2), layers=(("encoder 0", HeadRange.of_heads(numbers)),), losses=[2.0, 0.125]
    )
    texts = [text.string for text in timeline(data).texts]
    assert {"encoder 0", "0.6", "loss", "0.125", "2"} <= set(texts)


def test_without_losses_there_is_no_row_for_them() -> None:
    for losses in ([], [None, float("nan")]):
        data = replace(example(2, 2), losses=losses)
        assert "loss" not in [text.string for text in timeline(data).texts]


@pytest.mark.parametrize(
    "change", [{"steps": []}, {"steps": [1]}, {"losses": [1.0]}, {"layers": ()}], ids=str
)
def test_numbers_that_do_not_fit_the_steps_are_refused(change: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="one number a step"):
        replace(example(2, 3), **change)
