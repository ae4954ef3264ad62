"""The colour scale that all panels of a page share."""

from dataclasses import replace

import numpy as np
import pytest
from support.pictures import CAPTION, nothing_masked, panel

from attnmon_renderer.drawing import heatmap
from attnmon_renderer.drawing.layout.panel_scale import largest_value, shared_scale, weight_label
from attnmon_renderer.drawing.spec.figure_data import HeatmapData
from attnmon_renderer.drawing.spec.panel import Axis, Panel


def filled(values: list[list[float]], masked: list[list[bool]] | None = None) -> Panel:
    array = np.array(values, np.float32)
    nothing = np.zeros(array.shape, np.bool_)
    mask = nothing if masked is None else np.array(masked)
    return replace(panel("", *array.shape), values=array, masked=mask)


def test_the_scale_ends_above_the_largest_value_of_any_panel() -> None:
    panels = (filled([[0.1, 0.2]]), filled([[0.7, 0.3]]))
    assert shared_scale(panels, None).high == 0.8
    assert shared_scale(panels, 0.5).high == 0.5


def test_masked_and_not_finite_values_do_not_count() -> None:
    values = [[0.1, float("nan")], [float("inf"), 0.9]]
    assert largest_value(filled(values, [[False, False], [False, True]])) == pytest.approx(0.1)
    assert largest_value(filled([[0.5]], [[True]])) == 0


def test_the_largest_value_may_be_negative() -> None:
    assert largest_value(filled([[-0.5, 0.25]])) == 0.5


def test_the_colour_bar_says_how_many_keys_a_cell_adds_up() -> None:
    """Else a cell of four keys would look four times as strong as any weight there is."""
    plain, four, eight = Axis(8), Axis(8, 4, cells_are_sums=True), Axis(8, 8, cells_are_sums=True)
    assert weight_label({plain}) == weight_label({Axis(8, 4)}) == "attention weight"
    assert weight_label({four}) == "weight of 4 keys"
    assert weight_label({four, eight}) == "weight of each cell's keys"
    values = np.full((2, 2), 0.5, np.float32)
    axis = Axis(8, 4, cells_are_sums=True)
    page = heatmap(HeatmapData(CAPTION, values, nothing_masked(2, 2), axis, axis))
    assert any("weight of 4 keys" in text.string for text in page.texts)
