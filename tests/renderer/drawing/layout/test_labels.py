"""Texts of a page: each stands where it says, and says no more than fits."""

import pytest
from support.pictures import CAPTION

from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.spec.page import ColorBar, Font
from attnmon_renderer.drawing.spec.panel import Caption
from attnmon_renderer.drawing.spec.scales import weight_scale
from attnmon_renderer.drawing.text.font_sizes import FontSizes
from attnmon_renderer.drawing.text.glyphs import text_width

SIZES = FontSizes(1.0)


def test_the_header_has_the_caption_and_the_remarks_from_top_to_bottom() -> None:
    title, run, note = labels.header_texts(CAPTION, ["a remark"], 900, SIZES)
    assert (title.string, run.string) == (CAPTION.title, CAPTION.run)
    assert note.string == f"{CAPTION.note} · a remark"
    assert title.y < run.y < note.y


def test_a_header_leaves_out_what_a_caption_has_not() -> None:
    (only,) = labels.header_texts(Caption("title"), (), 900, SIZES)
    assert only.string == "title"


def test_a_header_ends_at_the_margin() -> None:
    caption = Caption("title " * 100, "run " * 100, "note " * 100)
    for text in labels.header_texts(caption, (), 900, SIZES):
        assert text.x + text_width(text.string, text.font) <= 900 - SIZES.margin


def test_each_tick_of_the_colour_bar_has_its_number_at_its_height() -> None:
    bar = ColorBar(100, 50, 30, 320, weight_scale(0.8))
    *numbers, name = labels.color_bar_texts(bar, SIZES)
    assert [text.string for text in numbers] == [labels.format_number(t) for t in bar.scale.ticks]
    assert numbers[-1].y == 50 + labels.capital_height(SIZES.tick) // 2
    assert numbers[0].y - numbers[-1].y == 320
    assert (name.string, name.upright) == ("attention weight (√ scale)", True)


def test_the_legend_puts_a_block_beside_each_meaning() -> None:
    (first, word), (second, _) = labels.legend_entries([("masked", 228), ("x", 80)], 10, 20, SIZES)
    assert (first.index, word.string, second.index) == (228, "masked", 80)
    assert first.x + first.width < word.x
    assert first.y + first.height < second.y
    assert labels.legend_width(["masked"], SIZES) == word.x + text_width("masked", word.font) - 10


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (-0.5, "−0.5"), (1e-7, "1e−07"), (3.0, "3")]
)
def test_numbers_are_short_and_have_a_true_minus(value: float, text: str) -> None:
    assert labels.format_number(value) == text


def test_centred_and_upright_text_have_their_middle_where_they_say() -> None:
    font = Font(20)
    width = text_width("middle", font)
    assert labels.centred_text("middle", 100, 7, font).x == 100 - width // 2
    assert labels.upright_text("middle", 7, 100, font).y == 100 + width // 2
