"""Cross-attention with its path and its coverage."""

import numpy as np
import pytest
from support.pictures import (
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    attention,
    decoded,
    heatmap_data,
)

from attnmon_renderer.drawing import render_png
from attnmon_renderer.drawing.charts.alignment import alignment
from attnmon_renderer.drawing.spec.palettes import MARK


@pytest.mark.parametrize("shape", [(20, 24), (128, 100), (5, 200), (900, 1200), (1, 1)])
def test_alignment_is_matplotlibs_own(shape: tuple[int, int]) -> None:
    data = heatmap_data(attention(2, *shape)[1])
    page = alignment(data)
    assert_matplotlib_draws_the_same(decoded(render_png(page)), page)
    assert_texts_stand_apart(page)


def test_marks_stand_at_each_querys_strongest_key() -> None:
    values = attention(3, 30, 20)[2]
    page = alignment(heatmap_data(values))
    (area,) = page.maps
    marks = [block for block in page.blocks if block.index == MARK and block.x < page.bars[0].x]
    keys = [(mark.x - area.x) // area.cell_width for mark in marks]
    queries = [(mark.y - area.y) // area.cell_height for mark in marks]
    assert queries == list(range(30))
    assert keys == values.argmax(axis=1).tolist()


def test_queries_without_a_number_have_no_mark() -> None:
    values = attention(2, 6, 6)[1]
    values[2] = np.nan
    masked = np.zeros((6, 6), np.bool_)
    masked[4] = True
    page = alignment(heatmap_data(values, masked))
    marks = [block for block in page.blocks if block.index == MARK and block.x < page.bars[0].x]
    assert len(marks) == 4


def test_coverage_is_what_a_key_gets_from_all_queries() -> None:
    """Four keys with 3, 1, 0 and 0 of the attention of four queries: √ heights of 1 : √⅓ : 0."""
    values = np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    page = alignment(heatmap_data(values))
    (area,) = page.maps
    bars = [block for block in page.blocks if block.y + block.height < area.y]
    assert [(bar.x - area.x) // area.cell_width for bar in bars] == [0, 1]
    assert bars[1].height / bars[0].height == pytest.approx(np.sqrt(1 / 3), abs=0.02)
    assert any("coverage (√ scale), up to 3" in text.string for text in page.texts)
