"""What to install on this machine for characters that no font has."""

import shutil
from collections.abc import Sequence
from typing import NamedTuple

from attnmon_renderer.tokens.clusters import is_emoji, stands_upright


class _Packages(NamedTuple):
    """How a system installs fonts, and what they are called there."""

    command: str
    east_asian: str
    emoji: str
    other: str


_SYSTEMS = {
    "apt-get": _Packages(
        "apt-get install", "fonts-noto-cjk", "fonts-noto-color-emoji", "fonts-noto-core"
    ),
    "dnf": _Packages(
        "dnf install",
        "google-noto-sans-cjk-fonts",
        "google-noto-emoji-fonts",  # the coloured one is of a kind that we cannot draw
        "google-noto-fonts-all",
    ),
    "pacman": _Packages("pacman -S", "noto-fonts-cjk", "noto-fonts-emoji", "noto-fonts"),
    "apk": _Packages("apk add", "font-noto-cjk", "font-noto-emoji", "font-noto-all"),
    "brew": _Packages(
        "brew install --cask", "font-noto-sans-cjk", "font-noto-emoji", "font-noto-sans"
    ),
}
"""By the command that tells that a system is one of these."""
_NAMED = 6
"""The most characters that are named."""


def font_packages(missing: Sequence[str]) -> tuple[str, ...]:
    """Return the packages that bring these characters; none on a system that we do not know."""
    system = _system()
    if system is None:
        return ()
    packages = (
        system.emoji
        if is_emoji(character)
        else (system.east_asian if stands_upright(character) else system.other)
        for character in missing
    )
    return tuple(dict.fromkeys(packages))


def advise(missing: Sequence[str]) -> str:
    """Return one sentence: what to install for these characters."""
    system, packages = _system(), font_packages(missing)
    own = "a .ttf or .otf file of such a font into ~/.local/share/fonts"
    if system is None:
        return f"put {own}: https://fonts.google.com/noto has one for every script"
    return f"{system.command} {' '.join(packages)}, or without root put {own}"


def describe_missing(missing: Sequence[str]) -> str:
    """Return which characters are drawn as boxes, and what to do about it."""
    named = " ".join(missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"no font on this machine has {named}{more}; the labels show boxes. "
        f"To install: {advise(missing)}. The next picture uses it."
    )


def _system() -> _Packages | None:
    return next((packages for name, packages in _SYSTEMS.items() if shutil.which(name)), None)
