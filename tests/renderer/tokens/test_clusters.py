"""Lines in the parts that a reader takes for one character each."""

import pytest

from attnmon_renderer.tokens.clusters import (
    clusters,
    han_language,
    is_emoji,
    reads_leftwards,
    stands_upright,
    visible,
)

FAMILY, ENGLAND = "👨‍👩‍👧", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("string", "parts"),
    [
        ("cafe\u0301s", ["c", "a", "f", "e\u0301", "s"]),
        ("हिन्दी", ["हि", "न्", "दी"]),
        ("น้ำ", ["น้ำ"]),
        ("\u1112\u1161\u11ab글", ["\u1112\u1161\u11ab", "글"]),
        (f"a{FAMILY}🇩🇪🇫🇷👍🏽{ENGLAND}1️⃣", ["a", FAMILY, "🇩🇪", "🇫🇷", "👍🏽", ENGLAND, "1️⃣"]),
        ("\u0301", ["\u0301"]),
    ],
)
def test_what_belongs_together_stays_together(string: str, parts: list[str]) -> None:
    assert list(clusters(string)) == parts


def test_emoji_are_told_from_letters_and_symbols() -> None:
    assert all(map(is_emoji, ("😀", FAMILY, "🇩🇪", "❤\ufe0f", "⭐", "1️⃣")))
    assert not any(map(is_emoji, ("a", "中", "❤", "⭐\ufe0e", "→", "1")))


def test_chinese_japanese_korean_and_emoji_stand_upright() -> None:
    assert all(map(stands_upright, ("中", "か", "ー", "한", "。", "「", "😀", "𠮷")))
    assert not any(map(stands_upright, ("a", "ع", "हि", "ท", "7", "…")))


def test_joiners_and_selectors_need_no_glyph() -> None:
    assert visible("❤\ufe0f") == "❤"
    assert visible(FAMILY) == "👨👩👧"


def test_a_line_reads_as_its_first_letter_does() -> None:
    assert reads_leftwards("12 مرحبا abc")
    assert reads_leftwards("שלום")
    assert not reads_leftwards("abc مرحبا")
    assert not reads_leftwards("123")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我们 们", "SC"),
        ("我們 學習", "TC"),
        ("直す 骨", "JP"),
        ("한국 骨", "KR"),
        ("plain", ""),
        ("é", ""),
    ],
)
def test_the_other_words_say_whose_chinese_characters_are_meant(text: str, language: str) -> None:
    assert han_language(text.split()) == language
