"""Pixels of a page: what stands over what, and where each part is."""

from dataclasses import replace

import numpy as np
from support.pictures import attention, heatmap_data

from attnmon_renderer.drawing import heatmap
from attnmon_renderer.drawing.backends.raster import rasterize
from attnmon_renderer.drawing.spec.page import ColorBlock, Mesh, Page, Shape
from attnmon_renderer.drawing.spec.palettes import INK, LEVELS, WHITE

PLAIN = heatmap(heatmap_data(attention(2, 8, 8)[1]))
EMPTY = replace(PLAIN, maps=(), bars=(), blocks=(), texts=())
SQUARE = np.array([(10, 10), (30, 10), (30, 30), (10, 30)], np.float64)


def pixel(page: Page, x: int, y: int) -> int:
    return int(rasterize(page)[y, x])


def test_an_empty_page_is_white_and_of_its_size() -> None:
    pixels = rasterize(EMPTY)
    assert pixels.shape == (PLAIN.height, PLAIN.width)
    assert (pixels == WHITE).all()


def test_blocks_hide_maps() -> None:
    (area,) = PLAIN.maps
    block = ColorBlock(area.x, area.y, 4, 4, 200)
    assert pixel(replace(PLAIN, blocks=(block,)), area.x + 1, area.y + 1) == 200


def test_a_shape_is_filled_with_its_grey() -> None:
    page = replace(EMPTY, shapes=(Shape(SQUARE, 196),))
    assert pixel(page, 20, 20) == 196
    assert pixel(page, 40, 20) == WHITE


def test_a_mesh_hides_shapes_and_has_no_other_colours_than_its_own() -> None:
    corners = np.array([[(10, 10), (30, 15)], [(12, 30), (33, 33)]], np.float64)
    mesh = Mesh(corners, np.array([[40]], np.uint8))
    pixels = rasterize(replace(EMPTY, mesh=mesh))
    assert set(np.unique(pixels)) == {40, WHITE}
    over = replace(EMPTY, shapes=(Shape(SQUARE, 196),), mesh=mesh)
    assert pixel(over, 20, 20) == 40


def test_the_bar_shows_every_level_from_the_highest_down() -> None:
    (bar,) = PLAIN.bars
    column = rasterize(PLAIN)[bar.y : bar.y + bar.height, bar.x]
    levels = column[:: bar.height // LEVELS]
    assert levels.tolist() == list(range(LEVELS - 1, -1, -1))


def test_ticks_stand_outside_of_the_map() -> None:
    (area,) = PLAIN.maps
    page = replace(PLAIN, texts=())
    assert pixel(page, area.x + area.column_ticks[0], area.y + area.height + 1) == INK
    assert pixel(page, area.x - 2, area.y + area.row_ticks[0]) == INK
