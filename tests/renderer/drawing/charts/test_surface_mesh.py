"""The mesh of a surface: heights at its corners, colours of its facets, walls in front."""

import numpy as np

from attnmon_renderer.drawing.charts.surface_mesh import surface_mesh
from attnmon_renderer.drawing.spec.palettes import LEVELS, NOT_FINITE

MASKED = 228


def indices(rows: int, columns: int, index: int = 0) -> np.ndarray:
    return np.full((rows, columns), index, np.uint8)


def test_the_highest_level_is_as_high_as_the_cube() -> None:
    cells = indices(80, 80)
    cells[40, 20] = LEVELS - 1
    mesh = surface_mesh(cells, MASKED)
    peak = np.unravel_index(mesh.heights.argmax(), mesh.heights.shape)
    assert mesh.heights[peak] == 1
    assert peak == (40, 20)
    assert (mesh.queries[40], mesh.keys[20]) == (40 / 79, 20 / 79)


def test_a_facet_has_the_colour_of_its_highest_corner() -> None:
    cells = indices(80, 80)
    cells[40, 20] = 50
    colours = surface_mesh(cells, MASKED).colours
    assert (colours[39:41, 19:21] == 50).all()
    assert (colours == 50).sum() == 4


def test_there_are_walls_down_to_the_floor_at_the_edges_in_front() -> None:
    mesh = surface_mesh(indices(80, 80, 40), MASKED)
    assert (mesh.heights[-1] == 0).all()
    assert (mesh.heights[:, -1] == 0).all()
    assert (mesh.heights[:-1, :-1] > 0).all()
    assert mesh.queries[-1] == mesh.queries[-2] == 1


def test_few_cells_have_facets_between_them() -> None:
    mesh = surface_mesh(indices(2, 3), MASKED)
    assert mesh.colours.shape == (32 + 1, 2 * 21 + 1)


def test_what_is_not_finite_wins_over_masked_and_neither_has_a_height() -> None:
    cells = indices(80, 80, MASKED)
    cells[0, 0] = NOT_FINITE
    mesh = surface_mesh(cells, MASKED)
    assert mesh.heights.max() == 0
    assert mesh.colours[0, 0] == NOT_FINITE
    assert mesh.colours[10, 10] == MASKED


def test_a_level_beside_masked_cells_is_not_masked() -> None:
    cells = indices(80, 80, MASKED)
    cells[40, 40] = 30
    assert (surface_mesh(cells, MASKED).colours[39:41, 39:41] == 30).all()
