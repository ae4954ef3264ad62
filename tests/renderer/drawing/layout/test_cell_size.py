"""Maps fitted to whole pixels, by merging neighbouring cells where there are too many."""

import numpy as np
import pytest
from support.pictures import panel

from attnmon_renderer.drawing.layout.cell_size import fit_map, merge_cells, merge_extremes


def test_a_small_map_is_enlarged_by_whole_pixels() -> None:
    fitted = fit_map(panel("", 40, 20), 640)
    assert (fitted.rows.cell_pixels, fitted.columns.cell_pixels) == (16, 16)
    assert (fitted.rows.pixels, fitted.columns.pixels) == (640, 320)
    assert fitted.values.shape == (40, 20)


def test_a_large_map_is_merged_until_it_fits() -> None:
    fitted = fit_map(panel("", 3000, 3000), 640)
    assert fitted.rows.cells_merged == fitted.columns.cells_merged == 3
    assert fitted.values.shape == (1000, 1000)
    assert fitted.rows.positions_per_cell == 3


def test_the_short_side_of_a_flat_map_stays_legible() -> None:
    fitted = fit_map(panel("", 3, 500), 640)
    assert fitted.rows.pixels >= 640 // 3
    assert fitted.rows.cells_merged == 1


def test_merging_keeps_the_value_farthest_from_zero() -> None:
    values = np.array([[0.1, -0.5, 0.2], [0.3, 0.0, -0.1]], np.float32)
    assert merge_extremes(values, 2, 2) == pytest.approx(np.array([[-0.5, 0.2]], np.float32))


def test_a_merged_cell_is_masked_only_if_all_its_cells_are() -> None:
    masked = np.array([[True, True, True], [True, False, True]])
    assert merge_cells(masked, 2, 2, np.logical_and).tolist() == [[False, True]]


def test_nothing_is_copied_where_nothing_is_merged() -> None:
    values = np.ones((2, 2), np.float32)
    assert merge_extremes(values, 1, 1) is values
