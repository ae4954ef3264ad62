"""Characters as they can be drawn, and fonts that no user setting changes."""

import matplotlib
from support.pictures import CAPTION

from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.fonts import BOX, drawable, font_families, font_properties


def test_every_character_becomes_visible() -> None:
    assert drawable("a\nb\tc") == "a↵b⇥c"
    assert drawable("\ud800") == BOX
    assert drawable("\U0010ffff") == BOX
    assert drawable("naïve Ġ ▁") == "naïve Ġ ▁"


def test_joiners_of_emoji_are_left_out() -> None:
    assert drawable("a\ufe0fb") == "ab"
    assert drawable(CAPTION.title) == CAPTION.title


def test_a_font_has_its_size_and_weight_whatever_the_user_has_set() -> None:
    with matplotlib.rc_context({"font.size": 99, "font.style": "italic"}):
        properties = font_properties(Font(17, bold=True))
    assert (properties.get_size(), properties.get_weight()) == (17, "bold")
    assert properties.get_style() == "normal"
    assert properties.get_family() == font_families()
    assert font_families()[0] == "DejaVu Sans"
