"""Cards for TensorBoard: the colours of the full picture, at a whole number of pixels a cell."""

import numpy as np
import pytest
from support.pictures import CAPTION, decoded

from attnmon_renderer.drawing import render_png
from attnmon_renderer.drawing.charts.alignment import alignment
from attnmon_renderer.drawing.charts.head_matrix import head_matrix
from attnmon_renderer.drawing.charts.heatmaps import head_grid, heatmap, layer_comparison
from attnmon_renderer.drawing.charts.surface import surface
from attnmon_renderer.drawing.layout.card import card
from attnmon_renderer.drawing.spec.figure_data import (
    HeadGridData,
    HeadMatrixData,
    HeatmapData,
    LayerComparisonData,
)
from attnmon_renderer.drawing.spec.page import CellMap, Page
from attnmon_renderer.drawing.spec.palettes import MARK
from attnmon_renderer.drawing.spec.panel import Axis, Panel
from attnmon_renderer.drawing.text.glyphs import text_width

MOST_BYTES = 25_000
MATRIX = HeadMatrixData(
    CAPTION, "entropy", (("layer 0", (0.1, 0.2, 0.9, 0.4)), ("layer 1", (0.5, 0.6, 0.7, 0.8))), 0, 1
)


def heads(count: int, queries: int, keys: int) -> Page:
    values = np.random.default_rng(0).random((count, queries, keys), np.float32)
    values /= values.sum(axis=2, keepdims=True)
    masked = np.tri(queries, keys) == 0
    names = tuple(f"head {head} · entropy 0.91" for head in range(count))
    return head_grid(HeadGridData(CAPTION, values, masked, names, Axis(queries), Axis(keys)))


def one_map(queries: int, keys: int) -> HeatmapData:
    values = np.random.default_rng(1).random((queries, keys), np.float32)
    nothing = np.zeros(values.shape, np.bool_)
    return HeatmapData(CAPTION, values, nothing, Axis(queries), Axis(keys))


def cells(page: Page, area: CellMap) -> np.ndarray:
    """Return the colour of each cell of a map, [rows, columns, 3], which all of its pixels have."""
    pixels = decoded(render_png(page))[area.y : area.y + area.height, area.x : area.x + area.width]
    shape = (*area.values.shape, area.cell_height, area.cell_width, 3)
    blocks = pixels.reshape(shape[0], area.cell_height, shape[1], area.cell_width, 3)
    blocks = blocks.transpose(0, 2, 1, 3, 4).reshape(*shape[:2], -1, 3)
    assert (blocks == blocks[:, :, :1]).all()
    return blocks[:, :, 0]


@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_card_has_the_colours_of_the_full_picture(count: int) -> None:
    page = heads(count, 24, 30)
    small = card(page)
    assert len(small.maps) == count
    for before, after in zip(page.maps, small.maps, strict=True):
        assert (cells(page, before) == cells(small, after)).all()


@pytest.mark.parametrize(
    "page",
    [
        heatmap(one_map(1024, 1024)), heatmap(one_map(128, 128)), heatmap(one_map(300, 2)),
        heads(12, 128, 128), heads(16, 256, 256), heads(4, 48, 48), heads(32, 64, 64),
    ],
    ids=["1024", "128", "300 by 2", "12 heads", "16 heads", "4 heads", "32 heads"],
)  # fmt: skip
def test_a_card_is_small_whatever_it_shows(page: Page) -> None:
    small = card(page)
    png = render_png(small)
    assert len(png.data) <= MOST_BYTES
    assert 80 <= png.width <= 640
    for area in small.maps:
        assert 0 <= area.x <= png.width - area.width
        assert 0 <= area.y <= png.height - area.height
    for text in small.texts:
        assert text.x + text_width(text.string, text.font) <= png.width
        assert text.font.size <= text.y <= png.height
    assert len({(area.x, area.y) for area in small.maps}) == len(page.maps)


def test_merged_cells_keep_a_single_strong_one() -> None:
    data = one_map(512, 512)
    data.values[:] = 0.001
    data.values[300, 17] = 1.0
    (area,) = card(heatmap(data)).maps
    assert area.values.max() == 1
    assert (area.values > 0.5).sum() == 1


def test_maps_of_different_shapes_have_their_own_places_and_names() -> None:
    panels = []
    for layer, (queries, keys) in enumerate([(10, 20), (20, 10), (5, 5)]):
        data = one_map(queries, keys)
        axes = data.queries, data.keys
        panels.append(Panel(f"layer {layer}", data.values, data.masked, *axes))
    small = card(layer_comparison(LayerComparisonData(CAPTION, tuple(panels))))
    assert [area.values.shape for area in small.maps] == [(10, 20), (20, 10), (5, 5)]
    said = [text.string for text in small.texts]
    assert said[:3] == ["layer 0", "layer 1", "layer 2"]
    assert said[3] == "0"
    assert said[4].endswith("attention weight (√ scale)")


def test_a_card_says_what_runs_downwards_and_what_to_the_right() -> None:
    assert card(heatmap(one_map(8, 9))).texts[-1].string == "↓ query position  → key position"
    assert card(head_matrix(MATRIX)).texts[-1].string == "↓ layer  → head"


def test_few_cells_fill_the_card() -> None:
    small = card(head_matrix(MATRIX))
    assert small.maps[0].width >= 240
    assert len(render_png(small).data) <= MOST_BYTES


@pytest.mark.parametrize("side", [20, 700])
def test_an_alignment_s_card_marks_the_strongest_key_of_each_row(side: int) -> None:
    small = card(alignment(one_map(side, side)))
    (area,) = small.maps
    marks = [block for block in small.blocks if block.index == MARK]
    columns = [(mark.x - area.x) // area.cell_width for mark in marks]
    rows = [(mark.y - area.y) // area.cell_height for mark in marks]
    assert rows == list(range(len(area.values)))
    assert columns == area.values.argmax(axis=1).tolist()


def test_a_picture_without_maps_is_its_own_card() -> None:
    page = surface(one_map(20, 20))
    assert card(page) is page
