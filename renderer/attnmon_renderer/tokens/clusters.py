"""A string in the parts that a reader takes for one character each, and what kind they are.

An accent belongs to its letter, a vowel sign to its consonant, and a family of emoji that are
joined is one picture (Unicode Standard Annex 29, as far as labels need it).
"""

import re
import unicodedata
from collections.abc import Iterable

_JOINER = "\u200d"
_PICTURE_SIGN, _TEXT_SIGN = "\ufe0f", "\ufe0e"
_FLAG = range(0x1F1E6, 0x1F200)
_EMOJI = range(0x1F000, 0x1FB00)
_EMOJI_AMONG_SYMBOLS = frozenset(
    "⌚⌛⏩⏪⏫⏬⏰⏳◽◾☔☕♈♉♊♋♌♍♎♏♐♑♒♓♿⚓⚡⚪⚫⚽⚾⛄⛅⛎⛔⛪⛲⛳⛵⛺⛽✅✊✋✨❌❎❓❔❕❗➕➖➗➰➿⬛⬜⭐⭕"
)
"""Shown as pictures by default, though they stand among the symbols."""
_UPRIGHT = re.compile(
    "[\u1100-\u11ff\u2e80-\u303f\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\ufe10-\ufe1f\ufe30-\ufe4f\uff01-\uff60\uffe0-\uffe6\U00020000-\U0003ffff]"
)


def clusters(string: str) -> tuple[str, ...]:
    """Return the string's parts: each is one character with all that belongs to it."""
    if string.isascii():
        return tuple(string)
    parts: list[str] = []
    for character in string:
        if parts and _continues(parts[-1], character):
            parts[-1] += character
        else:
            parts.append(character)
    return tuple(parts)


def _continues(part: str, character: str) -> bool:
    code = ord(character)
    return (
        unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or character
        in {_JOINER, "\u200c", "\u0e33", "\u0eb3"}  # joiners, and two vowels with a ring
        or code in range(0x1F3FB, 0x1F400)  # tones of skin
        or code in range(0xE0020, 0xE0080)  # the letters of a region's flag
        or code in range(0x1160, 0x1200)  # vowels and finals of a Korean syllable
        or (part[-1] == _JOINER and is_emoji(character))
        or (code in _FLAG and len(part) == 1 and ord(part) in _FLAG)
    )


def is_emoji(cluster: str) -> bool:
    """Whether a reader expects a picture and not a letter."""
    if _TEXT_SIGN in cluster:
        return False
    by_default = ord(cluster[0]) in _EMOJI or cluster[0] in _EMOJI_AMONG_SYMBOLS
    return by_default or _PICTURE_SIGN in cluster


def stands_upright(cluster: str) -> bool:
    """Whether the character stands upright in a line that runs downwards, as Chinese does."""
    return bool(_UPRIGHT.match(cluster)) or is_emoji(cluster)


def visible(cluster: str) -> str:
    """Return the characters of the cluster that need a glyph."""
    return "".join(c for c in cluster if not _is_ignorable(c))


def _is_ignorable(character: str) -> bool:
    code = ord(character)
    return (
        unicodedata.category(character) == "Cf"
        or code in range(0xFE00, 0xFE10)
        or code in range(0xE0000, 0xE1000)
    )


def reads_leftwards(string: str) -> bool:
    """Whether the line begins at the right: its first letter with a direction says so."""
    for character in string:
        direction = unicodedata.bidirectional(character)
        if direction in {"L", "R", "AL"}:
            return direction != "L"
    return False


def han_language(strings: Iterable[str]) -> str:
    """Return whose form of the shared Chinese characters a text expects: SC, TC, JP or KR.

    Japanese and Korean are known by their own letters, traditional Chinese by characters that the
    simplified standard lacks. Empty if there are no such characters.
    """
    text = "".join(strings)
    if text.isascii():
        return ""
    if re.search("[\u3041-\u30ff]", text):
        return "JP"
    if re.search("[\uac00-\ud7ff\u1100-\u11ff]", text):
        return "KR"
    shared = "".join(re.findall("[\u3400-\u9fff]", text))
    if not shared:
        return ""
    simplified = len(shared.encode("gb2312", "ignore"))
    return "TC" if len(shared.encode("big5", "ignore")) > simplified else "SC"
