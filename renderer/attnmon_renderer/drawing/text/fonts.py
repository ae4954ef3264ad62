"""The installed fonts, and which characters they can draw."""

import unicodedata
from functools import cache, lru_cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties, fontManager

from attnmon_renderer.drawing.spec.page import Font

_FAMILIES = (
    "DejaVu Sans",
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB"),
    *("Microsoft YaHei", "SimHei", "Noto Sans CJK JP", "Noto Sans CJK KR"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
    *("Noto Emoji", "Symbola", "Noto Sans Symbols", "Noto Sans Symbols 2", "Segoe UI Symbol"),
    *("Arial Unicode MS", "Unifont"),
)
"""Font families in order of preference. Colour emoji fonts are left out: matplotlib cannot draw
them."""

BOX = "\N{WHITE SQUARE}"
_SHOWN_AS = {"\n": "↵", "\t": "⇥"}


@cache
def font_families() -> list[str]:
    """Return the installed font families in order of preference."""
    installed = {entry.name for entry in fontManager.ttflist}
    return [name for name in _FAMILIES if name in installed]


@lru_cache(maxsize=64)
def font_properties(font: Font) -> FontProperties:
    """Return the font for matplotlib, with every property set, so that no user setting applies."""
    return FontProperties(
        family=font_families(),
        style="normal",
        variant="normal",
        weight="bold" if font.bold else "normal",
        stretch="normal",
        size=font.size,
    )


@cache
def _paths() -> tuple[str, ...]:
    return tuple(
        str(fontManager.findfont(FontProperties(family=[name]))) for name in font_families()
    )


@lru_cache(maxsize=8192)
def _drawable_character(character: str) -> str:
    """Return the character, a sign for one without a shape, or a box if no font has it."""
    if character in _SHOWN_AS:
        return _SHOWN_AS[character]
    if unicodedata.category(character) in {"Cf", "Mn"} and ord(character) >= 0xFE00:
        return ""  # selectors and joiners of emoji, which only colour fonts follow
    if unicodedata.category(character).startswith("C"):
        return BOX
    if any(font_manager.get_font(path).get_char_index(ord(character)) for path in _paths()):
        return character
    return BOX


def drawable(string: str) -> str:
    """Return the string as it can be drawn on one line.

    Characters that cannot be drawn are replaced, so that matplotlib does not warn of them.
    """
    return "".join(map(_drawable_character, string))
