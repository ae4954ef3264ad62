"""Lines in runs, each with fonts that draw it, and which no user setting changes."""

import shutil
import subprocess
import unicodedata

import matplotlib
import pytest
from matplotlib.font_manager import fontManager, get_font
from matplotlib.ft2font import LoadFlags
from support.font_packages import IN_TEN_SCRIPTS, require_fonts
from support.pictures import CAPTION

from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.fonts import (
    BOX,
    DEJAVU,
    TextRun,
    font_properties,
    missing_characters,
    runs,
)

FONT = Font(20)


def drawn(string: str) -> str:
    return "".join(run.string for run in runs(string, FONT))


def test_every_character_becomes_visible() -> None:
    assert drawn("a\nb\tc") == "a↵b⇥c"
    assert drawn("\ud800") == BOX
    assert drawn("\U0010ffff") == BOX
    assert drawn("naïve Ġ ▁") == "naïve Ġ ▁"


def test_joiners_and_selectors_alone_are_left_out() -> None:
    assert drawn("a\ufe0fb") == "ab"
    assert drawn(CAPTION.title) == CAPTION.title


def test_a_font_has_its_size_and_weight_whatever_the_user_has_set() -> None:
    with matplotlib.rc_context({"font.size": 99, "font.style": "italic"}):
        properties = font_properties(Font(17, bold=True))
    assert (properties.get_size(), properties.get_weight()) == (17, "bold")
    assert properties.get_style() == "normal"
    assert properties.get_family() == ["DejaVu Sans"]


def test_plain_text_is_one_run_of_dejavu() -> None:
    assert runs("head 3 · entropy", FONT) == (TextRun("head 3 · entropy", DEJAVU),)


@pytest.mark.parametrize("bold", [False, True])
def test_no_glyph_is_missing_where_a_font_has_it(bold: bool) -> None:
    """Of each line that is drawn as text, matplotlib's own layout has no glyph 0, `.notdef`."""
    require_fonts()
    font = Font(20, bold)
    for string in IN_TEN_SCRIPTS:
        assert missing_characters([string], font) == []
        for run in runs(string, font):
            if run.picture is None:
                assert BOX not in run.string
                glyphs = _glyphs(run, font)
                assert all(glyph and family != "Last Resort" for family, glyph in glyphs), string


def _glyphs(run: TextRun, font: Font) -> list[tuple[str, int]]:
    """Return (family, number) of each glyph of matplotlib's own layout."""
    paths = fontManager._find_fonts_by_props(font_properties(font, run.families))
    face = get_font(paths)
    face.set_size(font.size, 72)
    items = face._layout(run.string, LoadFlags.DEFAULT)
    return [(item.ft_object.family_name, item.glyph_index) for item in items]


@pytest.mark.skipif(not shutil.which("fc-list"), reason="fontconfig is not there to compare with")
def test_what_fontconfig_knows_of_is_found() -> None:
    """One letter of every 256, of those that some font on the machine has by fontconfig's word."""
    require_fonts()
    sample = [chr(code) for code in range(0xA1, 0x1FA00, 256)]
    letters = [c for c in sample if unicodedata.category(c)[0] in "LNS"]
    missing = missing_characters(letters, FONT)
    assert len(missing) < len(letters) / 4
    for character in missing:
        listed = [line for line in _fc_list(character) if "Last" not in line]
        assert not listed, character


def _fc_list(character: str) -> list[str]:
    query = f":charset={ord(character):x}"
    asked = subprocess.run(["fc-list", query, "family"], capture_output=True, text=True, check=True)
    return asked.stdout.splitlines()


def test_letters_of_arabic_and_hindi_are_joined() -> None:
    """The glyphs of a word are others than those of its letters alone."""
    require_fonts()
    for word in ("مرحبا", "क्षत्रिय"):
        (run,) = runs(word, FONT)
        alone = [glyph for letter in word for glyph in _glyphs(run._replace(string=letter), FONT)]
        assert sorted(_glyphs(run, FONT)) != sorted(alone)


def test_shared_characters_have_the_form_of_their_language() -> None:
    require_fonts()
    families = {
        language: runs("直骨", Font(20, language=language))[0].families for language in ("SC", "JP")
    }
    assert families["SC"] != families["JP"]


def test_nothing_is_missing_of_plain_text_and_of_what_no_font_can_have() -> None:
    assert missing_characters(["ok é\n", "\ud800", "\U0003ffff", "\u200d"], FONT) == []
