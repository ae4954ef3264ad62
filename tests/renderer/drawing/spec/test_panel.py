"""Axes and panels: numbers that cannot be drawn are refused at construction."""

from dataclasses import replace

import pytest
from support.pictures import panel

from attnmon_renderer.drawing.spec.panel import Axis


@pytest.mark.parametrize(
    ("length", "positions_per_cell", "cells"), [(8, 1, 8), (8, 4, 2), (9, 4, 3), (1, 5, 1)]
)
def test_the_last_cell_may_hold_fewer_positions(
    length: int, positions_per_cell: int, cells: int
) -> None:
    assert Axis(length, positions_per_cell).cells == cells


def test_an_axis_needs_a_position_and_cells_that_hold_one() -> None:
    for length, positions_per_cell in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="give at least 1 of each"):
            Axis(length, positions_per_cell)


def test_values_and_mask_have_the_shape_of_the_axes() -> None:
    whole = panel("", 8, 6)
    with pytest.raises(ValueError, match=r"must both be \(4, 6\), as the axes say"):
        replace(whole, queries=Axis(8, 2))
    with pytest.raises(ValueError, match="must both be"):
        replace(whole, masked=whole.masked[:2])
