"""Tokens where they are legible, and otherwise positions at round distances."""

import numpy as np

from attnmon_renderer.drawing.layout.cell_size import MapSide
from attnmon_renderer.drawing.layout.ticks import place_ticks
from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.spec.panel import Axis

FONT = Font(22)


def test_positions_are_round_numbers_whose_labels_stand_apart() -> None:
    ticks = place_ticks(MapSide(Axis(128), 1, 5), FONT, across=True)
    assert ticks.labels == tuple(map(str, range(0, 128, 20)))
    assert ticks.offsets[:2] == (3, 103)
    assert not ticks.tokens


def test_ticks_below_each_other_may_be_closer() -> None:
    side = MapSide(Axis(128), 1, 5)
    across, down = (len(place_ticks(side, FONT, across).labels) for across in (True, False))
    assert down > across


def test_positions_of_pooled_cells_are_true_positions() -> None:
    ticks = place_ticks(MapSide(Axis(1024, 8), 2, 10), FONT, across=True)
    assert ticks.labels[:3] == ("0", "200", "400")
    assert np.diff(ticks.offsets).tolist() == [125] * (len(ticks.offsets) - 1)


def test_tokens_are_shown_where_each_cell_has_room_for_one() -> None:
    tokens = ("the", " cat", "", "x" * 50)
    ticks = place_ticks(MapSide(Axis(4, tokens=tokens), 1, 40), FONT, across=True)
    assert ticks.tokens
    assert ticks.labels[:3] == ("the", "␣cat", "∅")
    assert ticks.labels[3].endswith("…")
    assert ticks.offsets == (20, 60, 100, 140)


def test_narrow_or_merged_cells_have_positions() -> None:
    axis = Axis(4, tokens=("a", "b", "c", "d"))
    assert not place_ticks(MapSide(axis, 1, 14), FONT, across=True).tokens
    assert not place_ticks(MapSide(axis, 2, 40), FONT, across=True).tokens
