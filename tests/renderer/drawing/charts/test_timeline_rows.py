"""The rows of a timeline: one a layer, and one for the loss if it is known."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from support.pictures import CAPTION

from attnmon_renderer.drawing.charts.curves import BACKGROUND, BAND
from attnmon_renderer.drawing.charts.timeline_rows import TimelineRows
from attnmon_renderer.drawing.spec.figure_data import HeadRange, TimelineData
from attnmon_renderer.drawing.spec.palettes import INK


def rows(layers: int, losses: Sequence[float | None] = (2.0, None, 1.0)) -> TimelineRows:
    heads = HeadRange.of_heads(np.full((3, 2), 0.5))
    numbers = tuple((f"layer {layer}", heads) for layer in range(layers))
    data = TimelineData(CAPTION, "entropy", [0, 50, 100], numbers, losses)
    return TimelineRows(data, left=100, right=900, top=80, limits=(0.0, 1.0))


@pytest.mark.parametrize(("layers", "height"), [(1, 150), (6, 85), (100, 24)])
def test_rows_share_the_height_within_reason(layers: int, height: int) -> None:
    assert {frame.height for frame in rows(layers).layer_frames} == {height}


def test_frames_stand_below_each_other() -> None:
    made = rows(4)
    assert made.loss_frame is not None
    frames = [*made.layer_frames, made.loss_frame]
    assert frames[0].y == 80
    assert all(upper.bottom < lower.y for upper, lower in pairwise(frames))
    assert {(frame.x, frame.width) for frame in frames} == {(100, 800)}
    assert made.last_frame is made.loss_frame


def test_the_loss_has_its_own_range() -> None:
    frame = rows(1).loss_frame
    assert frame is not None
    assert (frame.low, frame.high) == (1, 2)


@pytest.mark.parametrize("losses", [(), (None, float("nan"), None)])
def test_without_a_loss_the_last_frame_is_that_of_a_layer(losses: Sequence[float | None]) -> None:
    made = rows(2, losses)
    assert made.loss_frame is None
    assert made.last_frame is made.layer_frames[-1]


def test_each_layer_has_a_background_a_band_and_a_line_and_the_loss_dots() -> None:
    greys = [shape.grey for shape in rows(2).shapes()]
    assert greys == [BACKGROUND, BAND, INK, BACKGROUND, BAND, INK, BACKGROUND, INK, INK]
