"""What a page says about its values: counts, merged cells, and colours that are not on the bar."""

from dataclasses import replace

import numpy as np
from support.pictures import panel

from attnmon_renderer.drawing.layout.page_notes import legend_meanings, remarks
from attnmon_renderer.drawing.layout.panel_grid import PanelGrid
from attnmon_renderer.drawing.spec.palettes import MARK, NOT_FINITE, WEIGHT_PALETTE
from attnmon_renderer.drawing.spec.panel import Panel
from attnmon_renderer.drawing.spec.scales import weight_scale

SCALE = weight_scale(1.0)


def damaged() -> Panel:
    """One masked cell, one NaN, and a NaN that is masked and does not count."""
    whole = panel("", 3, 3)
    values, masked = whole.values.copy(), whole.masked.copy()
    values[0, :2] = np.nan
    masked[0, 0] = True
    return replace(whole, values=values, masked=masked)


def said(*panels: Panel, top: float = 1.0) -> list[str]:
    return list(remarks(PanelGrid(panels, len(panels)).placed_panels, weight_scale(top)))


def test_a_plain_map_needs_no_words() -> None:
    assert said(panel("", 9, 9)) == []
    assert legend_meanings((panel("", 9, 9),), SCALE, "masked", "") == ()


def test_the_legend_lists_marks_masked_and_not_finite() -> None:
    assert legend_meanings((panel("", 9, 9), damaged()), SCALE, "no path", "strongest key") == (
        ("strongest key", MARK),
        ("no path", WEIGHT_PALETTE.masked_index),
        ("not finite", NOT_FINITE),
    )


def test_cells_that_are_not_finite_are_counted_over_all_panels() -> None:
    assert said(damaged(), damaged()) == ["2 cells are not finite"]


def test_cells_beyond_the_scale_are_counted() -> None:
    whole = panel("", 2, 2)
    values = np.array([[0.5, 0.2], [0.20000001, 0.9]], np.float32)
    assert said(replace(whole, values=values), top=0.2) == ["2 cells are beyond the colour scale"]
    assert said(replace(whole, values=values), top=0.5) == ["1 cell is beyond the colour scale"]


def test_each_size_of_merged_cells_is_said_once() -> None:
    assert said(panel("", 2048, 2048), panel("", 2048, 2048)) == [
        "each cell drawn is the largest of 4×4"
    ]
