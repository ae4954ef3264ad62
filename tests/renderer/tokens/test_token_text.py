"""Tokens as people read them."""

import pytest

from attnmon_renderer.tokens.token_text import readable


def byte_level(text: str) -> str:
    """Text as GPT-2's tokenizer spells it, by its published rule."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = dict(zip(printable, map(chr, printable), strict=True))
    for byte in range(256):
        spelled.setdefault(byte, chr(256 + len(spelled) - len(printable)))
    return "".join(spelled[byte] for byte in text.encode())


def test_spaces_and_line_breaks_of_byte_level_tokens() -> None:
    assert byte_level(" the") == "Ġthe"
    tokens = ("The", "Ġcat", "Ċ", "Ġ", "<|endoftext|>", "ĊĊ", "ĉx")
    assert readable(tokens) == ("The", "␣cat", "\n", "␣", "<|endoftext|>", "\n\n", "\tx")


def test_bytes_of_characters_are_put_together() -> None:
    words = ("我们", " 注意", "é", "مرحبا", " 😂")
    assert readable(tuple(map(byte_level, words))) == ("我们", "␣注意", "é", "مرحبا", "␣😂")


def test_a_character_of_several_tokens_is_in_each_of_them() -> None:
    spelled = byte_level("好你😂")
    pieces = (spelled[:4], spelled[4:6], spelled[6:8], spelled[8:])
    assert readable(pieces) == ("好你①", "你②", "😂①", "😂②")


def test_what_is_cut_at_an_end_is_shown_as_bytes() -> None:
    spelled = byte_level("你好 我")
    assert readable((spelled[1:6], spelled[6:8])) == ("0xBD0xA0好", "␣0xE6")


def test_a_long_token_that_was_cut_ends_with_a_whole_character() -> None:
    assert readable((byte_level("注意力机制是什么东西")[: 24 - 1] + "å", "Ġok")) == (
        "注意力机制是什",
        "␣ok",
    )


def test_sentencepiece() -> None:
    tokens = ("<s>", "▁The", "▁", "s", "<0xE4>", "<0xBD>", "<0xA0>", "<0x0A>", "▁我们")
    shown = ("<s>", "␣The", "␣", "s", "你①", "你②", "你③", "\n", "␣我们")
    assert readable(tokens) == shown


@pytest.mark.parametrize(
    "words",
    [
        ("naïve", "café", "Ünder"),
        ("Ġunju", "ġdid", "Ħal"),  # Maltese has the letter that elsewhere is a space
        ("ÇA", "VA", "NÃO", "«oui»"),
        ("##ing", "[CLS]", "cat"),
        ("中文", "Ġ"),
    ],
)
def test_plain_text_stays_as_it_is(words: tuple[str, ...]) -> None:
    assert readable(words) == words


def test_no_label_is_empty_or_white() -> None:
    assert readable(("", " ", "a b", " a b", "\u3000", "\u200d", "cat</w>")) == (
        "∅", "␣", "a b", "␣a␣b", "␣", "U+200D", "cat␣",
    )  # fmt: skip
