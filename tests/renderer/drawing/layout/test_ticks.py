"""Positions at round distances."""

import numpy as np

from attnmon_renderer.drawing.layout.cell_size import MapSide
from attnmon_renderer.drawing.layout.ticks import position_ticks
from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.spec.panel import Axis
from attnmon_renderer.drawing.text.glyphs import text_width

FONT = Font(22)


def test_positions_are_round_numbers_whose_labels_stand_apart() -> None:
    ticks = position_ticks(MapSide(Axis(128), 1, 5), FONT, across=True)
    assert ticks.labels == tuple(map(str, range(0, 128, 20)))
    assert ticks.offsets[:2] == (3, 103)
    assert not ticks.tokens
    assert ticks.room == 22


def test_ticks_below_each_other_may_be_closer() -> None:
    side = MapSide(Axis(128), 1, 5)
    across, down = (position_ticks(side, FONT, across) for across in (True, False))
    assert len(down.labels) > len(across.labels)
    assert down.room == text_width("120", FONT)


def test_positions_of_pooled_cells_are_true_positions() -> None:
    ticks = position_ticks(MapSide(Axis(1024, 8), 2, 10), FONT, across=True)
    assert ticks.labels[:3] == ("0", "200", "400")
    assert np.diff(ticks.offsets).tolist() == [125] * (len(ticks.offsets) - 1)
