"""Emoji as pictures, in colours."""

from dataclasses import replace

import numpy as np
from support.font_packages import require_fonts

from attnmon_renderer.drawing.spec.page import Font, Text
from attnmon_renderer.drawing.spec.palettes import WEIGHT_PALETTE, WHITE
from attnmon_renderer.drawing.text.emoji import BELOW_BASELINE, can_draw, picture
from attnmon_renderer.drawing.text.font_choice import default_font
from attnmon_renderer.drawing.text.fonts import runs
from attnmon_renderer.drawing.text.glyphs import draw_text, text_width


def test_an_emoji_is_drawn_in_its_colours_and_its_place() -> None:
    require_fonts()
    canvas = np.full((60, 60), WHITE, np.uint8)
    draw_text(canvas, Text(10, 40, "💚", Font(30)), WEIGHT_PALETTE)
    rows, columns = np.nonzero(canvas != WHITE)
    below = round(30 * BELOW_BASELINE)
    assert (rows.min(), rows.max()) == (40 + below - 30, 40 + below - 1)
    assert 10 <= columns.min() <= columns.max() < 10 + text_width("💚", Font(30))
    red, green, blue = WEIGHT_PALETTE.colours[canvas[30, 25]].astype(int)
    assert green > red
    assert green > blue


def test_joined_emoji_are_one_picture() -> None:
    require_fonts()
    for cluster in ("👨‍👩‍👧", "🇩🇪", "👍🏽"):
        (run,) = runs(cluster, Font(30))
        assert run.picture is not None
        found = picture(run.string, run.picture)
        assert found is not None
        assert found.shape[1] < 1.6 * found.shape[0]


def test_text_in_the_other_direction_turns_around_a_picture() -> None:
    require_fonts()
    strings = [run.string.strip() for run in runs("مرحبا 😂 بك", Font(20))]
    assert strings == ["بك", "😂", "مرحبا"]


def test_a_font_without_emoji_cannot_draw_them() -> None:
    assert not can_draw(replace(default_font(bold=False), path="/nowhere.ttf"))
