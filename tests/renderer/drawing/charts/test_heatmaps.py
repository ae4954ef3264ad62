"""The three kinds of map pictures, held against matplotlib's own drawing of the same page."""

import tracemalloc
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from support.font_packages import IN_TEN_SCRIPTS, require_fonts
from support.pictures import (
    CAPTION,
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    attention,
    columns_of,
    decoded,
    head_grid_data,
    heatmap_data,
    nothing_masked,
    panel,
    rows_of,
)

from attnmon_renderer.drawing import (
    Axis,
    Caption,
    HeadGridData,
    HeatmapData,
    LayerComparisonData,
    render_png,
)
from attnmon_renderer.drawing.charts import heatmaps
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.palettes import LEVELS, NOT_FINITE, WEIGHT_PALETTE

Array = np.ndarray[Any, Any]
PALETTE = WEIGHT_PALETTE.colours

TOKENS = (
    *("x", "Pdb", "the", "is", "Ġthe", "▁word", "<pad>"),
    *("</s>", ",", "naïve", "$x$", "AV", "", "42"),
)
SHAPES = ((40, 40), (24, 60), (33, 33), (10, 100), (90, 9))
CAUSAL = np.triu(np.ones((70, 70), np.bool_), 1)

EXAMPLES = {
    "one map": heatmap_data(attention(2, 128, 128)[1]),
    "cells of an even width": heatmap_data(attention(2, 160, 160)[1]),
    "causal": heatmap_data(attention(2, 70, 70, causal=True)[1], CAUSAL),
    "tokens": heatmap_data(attention(2, 14, 12)[1], query_tokens=TOKENS, key_tokens=TOKENS[:12]),
    "reduced": heatmap_data(attention(2, 1500, 1100)[1]),
    "flat": heatmap_data(attention(2, 3, 500)[1]),
    "one cell": heatmap_data(np.ones((1, 1))),
    "not finite": heatmap_data(np.where(CAUSAL, np.nan, 1 / 70)),
    "12 heads": head_grid_data(12, 128, 128),
    "7 heads": head_grid_data(7, 29, 23),
    "comparison": LayerComparisonData(
        CAPTION, tuple(panel(f"layer {n}", *shape) for n, shape in enumerate(SHAPES))
    ),
}


def page_of(data: HeatmapData | HeadGridData | LayerComparisonData) -> Page:
    if isinstance(data, HeatmapData):
        return heatmaps.heatmap(data)
    if isinstance(data, HeadGridData):
        return heatmaps.head_grid(data)
    return heatmaps.layer_comparison(data)


def pixels_of(data: HeatmapData | HeadGridData | LayerComparisonData) -> Array:
    return decoded(render_png(page_of(data)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_picture_is_matplotlibs_own(name: str) -> None:
    """No pixel inside a map differs from matplotlib's drawing, and at most 0.1 % of the others."""
    assert_matplotlib_draws_the_same(pixels_of(EXAMPLES[name]), page_of(EXAMPLES[name]))


def test_cells_have_the_colours_of_viridis() -> None:
    """Each cell's middle has, to a level of 80, matplotlib's viridis at the root of its weight."""
    values = attention(2, 50, 40)[1]
    data = heatmap_data(values)
    (area,) = heatmaps.heatmap(data).maps
    top = heatmaps.heatmap(data).maps[0].scale.high
    pixels = map_pixels(data)[area.cell_height // 2 :: area.cell_height]
    cells = pixels[:, area.cell_width // 2 :: area.cell_width]
    expected = matplotlib.colormaps["viridis"](np.sqrt(values / top), bytes=True)[..., :3]
    assert np.abs(cells.astype(int) - expected).max() <= 7


def map_pixels(data: HeatmapData) -> Array:
    """What the map itself takes of its picture."""
    (area,) = heatmaps.heatmap(data).maps
    return pixels_of(data)[rows_of(area), columns_of(area)]


def test_a_sink_does_not_flatten_the_scale() -> None:
    """With 0.9 on the first token, the remaining tenth still spreads over a quarter of the scale.

    On a linear scale the same weights would lie within the lowest 1 % of it.
    """
    values = np.zeros((32, 32))
    values[:, 0], values[:, 1:] = 0.9, 0.1 * np.linspace(0, 2, 31) / 31
    colours = {tuple(colour) for colour in map_pixels(heatmap_data(values)).reshape(-1, 3)}
    assert len(colours - {tuple(PALETTE[0])}) > 0.05 * LEVELS


def test_masked_zero_and_not_finite_are_three_colours() -> None:
    values = np.array([[0.0, 0.0], [np.nan, np.inf]])
    data = heatmap_data(values, np.array([[False, True], [False, False]]))
    pixels = map_pixels(data)
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    assert (pixels[:height, :width] == PALETTE[0]).all()
    assert (pixels[:height, width:] == WEIGHT_PALETTE.masked_index).all()
    assert (pixels[height:] == PALETTE[NOT_FINITE]).all()


def test_what_is_masked_or_not_finite_is_said() -> None:
    clean_page = heatmaps.heatmap(heatmap_data(np.ones((2, 2))))
    values = np.array([[0.5, np.inf], [np.nan, 0.5]])
    page = heatmaps.heatmap(heatmap_data(values, np.eye(2, dtype=np.bool_)[::-1] & False))
    said = {text.string for text in page.texts}
    assert any("2 cells are not finite" in string for string in said)
    assert "not finite" in said
    assert "masked" not in said
    assert not {"masked", "not finite"} & {text.string for text in clean_page.texts}


def test_reduced_maps_keep_thin_lines_and_say_so() -> None:
    """A sink one cell wide keeps its colour when 2,048 cells share fewer pixels."""
    values = np.full((2048, 2048), 1e-4)
    values[:, 1000] = 0.8
    data = heatmap_data(values)
    assert (map_pixels(data) == PALETTE[LEVELS - 1]).all(axis=2).any(axis=1).all()
    assert any("largest of 2×2" in text.string for text in heatmaps.heatmap(data).texts)


def test_one_scale_for_all_panels() -> None:
    """A weight has the same colour in a head that has larger ones and in one that has not."""
    values = np.full((2, 4, 4), 0.25)
    values[0, 0] = (1, 0, 0, 0)
    data = HeadGridData(
        CAPTION, values.astype(np.float32), nothing_masked(4, 4), ("a", "b"), Axis(4), Axis(4)
    )
    first, second = heatmaps.head_grid(data).maps
    pixels = pixels_of(data)
    assert (pixels[first.y + first.height - 1, first.x] == pixels[second.y, second.x]).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_cut_off_and_nothing_overlaps(name: str) -> None:
    assert_texts_stand_apart(page_of(EXAMPLES[name]))


def test_long_names_and_markup_are_drawn_literally() -> None:
    """Two hundred characters, markup, line breaks and lone surrogates neither fail nor warn."""
    caption = Caption("$\\bad$ <b>" + "name_" * 40, "loss \ud800 \n 0.1", "approximate: " * 30)
    tokens = (
        "$\\frac",
        "<b>",
        "\n",
        "\ud83d",
        "",
        " ",
        "注意",
        "مرحبا",
        "😀",
        "👍🏽",
        "\x00",
        "q" * 200,
    )
    data = heatmap_data(attention(2, 12, 12)[1], None, caption, tokens, tokens)
    page = heatmaps.heatmap(data)
    assert page.width < 1600
    assert page.height < 1600
    assert decoded(render_png(page)).shape == (page.height, page.width, 3)
    assert next(text.string for text in page.texts).startswith("$\\bad$ <b>name_")


def test_users_matplotlib_settings_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heatmap_data(attention(2, 20, 20)[1], caption=Caption("settings of the user 1"))
    expected = render_png(page_of(data))
    other = replace(data, caption=Caption("settings of the user 2"))
    with matplotlib.rc_context({"text.hinting": "none", "text.usetex": True, "font.size": 30}):
        matplotlib.rcParams["figure.facecolor"] = "red"
        from_cache, drawn_anew = render_png(page_of(data)), render_png(page_of(other))
        assert matplotlib.rcParams["text.hinting"] == "none"
    assert from_cache == expected
    assert drawn_anew == render_png(page_of(other))


def test_pages_are_of_the_size_designed() -> None:
    one = page_of(EXAMPLES["one map"])
    heads = page_of(head_grid_data(12, 128, 128, replace(CAPTION, note="")))
    assert (one.width, one.height) == pytest.approx((950, 890), abs=20)
    assert (heads.width, heads.height) == pytest.approx((1600, 1200), abs=8)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Axis(0), "at least 1"),
        (lambda: replace(panel("", 4, 4), keys=Axis(5)), r"must both be \(4, 5\)"),
        (lambda: LayerComparisonData(CAPTION, ()), "at least one"),
        (lambda: replace(head_grid_data(2, 4, 4), labels=("one",)), "2 maps and 1 labels"),
    ],
)
def test_misuse_is_told_at_construction(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_queries_that_see_few_keys_do_not_set_the_scale() -> None:
    """A causal map of a model that has learnt nothing: all weights alike, the first of them 1."""
    side = 64
    masked = np.triu(np.ones((side, side), np.bool_), 1)
    weights = (~masked / (~masked).sum(axis=1, keepdims=True)).astype(np.float32)
    axis = Axis(side)
    page = page_of(HeatmapData(CAPTION, weights, masked, axis, axis))
    assert page.bars[0].scale.high == 0.3  # a round number above the 1/4 of the fourth query
    assert "6 cells are beyond the colour scale" in " ".join(text.string for text in page.texts)
    turned_about = HeatmapData(CAPTION, np.full_like(weights, 0.9), masked, axis, axis)
    assert page_of(turned_about).bars[0].scale.high == 1.0


def test_memory_stays_flat_over_many_pictures() -> None:
    """Other numbers, steps and lengths in each: after the first ones, nothing is kept."""

    def draw(numbers: range) -> None:
        for number in numbers:
            caption = Caption("encoder layer 0", f"step {number:,} · loss {1 / (number + 1):.5f}")
            values = attention(2, 20 + number % 9, 20)[1]
            render_png(page_of(heatmap_data(values, caption=caption)))

    draw(range(90, 100))
    tracemalloc.start()
    draw(range(100, 200))  # more than there are captions kept
    before, _ = tracemalloc.get_traced_memory()
    draw(range(200, 290))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000


@pytest.mark.parametrize("tokens", [30, 60])
def test_labels_in_ten_scripts_stand_apart(tokens: int) -> None:
    require_fonts()
    words = (IN_TEN_SCRIPTS * 6)[:tokens]
    values = attention(1, tokens, tokens)[0]
    assert_texts_stand_apart(
        heatmaps.heatmap(heatmap_data(values, query_tokens=words, key_tokens=words))
    )
