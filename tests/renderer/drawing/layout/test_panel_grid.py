"""Panels in rows and columns: how many, where, and which of them have tick labels."""

from itertools import pairwise

import pytest
from support.pictures import panel

from attnmon_renderer.drawing.layout.panel_grid import PanelGrid, column_count


@pytest.mark.parametrize(
    ("panels", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (6, 3), (7, 4), (12, 4), (16, 4)]
)
def test_columns_leave_few_places_empty(panels: int, columns: int) -> None:
    assert column_count(panels) == columns


def test_panels_of_the_same_axes_share_the_outer_tick_labels() -> None:
    placed = PanelGrid(tuple(panel(f"{n}", 20, 20) for n in range(5)), 3).placed_panels
    assert [place.shows_row_labels for place in placed] == [True, False, False, True, False]
    assert [place.shows_column_labels for place in placed] == [False, False, True, True, True]


def test_panels_of_other_axes_have_their_own_tick_labels() -> None:
    placed = PanelGrid((panel("a", 20, 20), panel("b", 30, 10)), 2).placed_panels
    assert all(place.shows_row_labels and place.shows_column_labels for place in placed)


def test_maps_do_not_overlap_and_end_within_the_grid() -> None:
    grid = PanelGrid(tuple(panel(f"{n}", 10 + n, 20) for n in range(4)), 2)
    for left, right in pairwise(grid.placed_panels[:2]):
        assert left.x + left.fitted.columns.pixels < right.x
    upper, lower = grid.placed_panels[0], grid.placed_panels[2]
    assert upper.y + upper.fitted.rows.pixels + grid.label_height < lower.y
    assert max(p.x + p.fitted.columns.pixels for p in grid.placed_panels) <= grid.width
    assert max(p.y + p.fitted.rows.pixels for p in grid.placed_panels) == grid.height


def test_room_for_labels_is_made_only_where_there_is_one() -> None:
    assert PanelGrid((panel("", 9, 9),), 1).label_height == 0
    assert PanelGrid((panel("", 9, 9), panel("b", 9, 9)), 2).label_height > 0
