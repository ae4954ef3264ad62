"""Which font draws a character: DejaVu Sans where it can, otherwise the best on the machine."""

import re
import time
import unicodedata
from functools import cache
from typing import NamedTuple

import matplotlib
from matplotlib.font_manager import FontEntry, fontManager

from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text import emoji
from attnmon_renderer.drawing.text.font_files import (
    Folders,
    FontFile,
    find_font_files,
    read_faces,
)
from attnmon_renderer.tokens.clusters import is_emoji, visible

LOOK_AGAIN_SECONDS = 1.0
"""How long what is missing stays missing, before we look whether a font was installed."""
_PLAIN = re.compile(r"^(regular|book|normal|roman|medium|)$", re.IGNORECASE)
_SPECIAL = re.compile(r"mono|serif|ming|song|mincho|batang|unifont|nastaliq|looped| UI$", re.I)
_LANGUAGES = {
    "JP": re.compile(
        r"\bJP\b|IPA|takao|VL gothic|hiragino (?!sans gb)|yu gothic|meiryo|^MS ", re.I
    ),
    "KR": re.compile(r"\bKR\b|nanum|baekmuk|^un|malgun|apple sd", re.I),
    "TC": re.compile(r"\b(TC|TW|HK|HC)\b|uming|ukai|jhenghei|mingliu|heiti tc", re.I),
}
"""The fonts that have the Chinese characters in the form of a language; all others are SC."""


class Choice(NamedTuple):
    """What draws a cluster: a family of matplotlib's, or pictures of an emoji font."""

    family: str
    picture: FontFile | None = None


class _Installed:
    """The faces on the machine, and the choices made among them."""

    def __init__(self) -> None:
        self.looked = float("-inf")
        self.folders: Folders = {}
        self.faces: tuple[FontFile, ...] = ()
        self.preferred: dict[tuple[bool, str], list[FontFile]] = {}
        self.choices: dict[tuple[str, bool, str], Choice] = {}
        self.by_script: dict[tuple[str, bool, str], FontFile] = {}

    def look_again(self) -> bool:
        """Read the fonts if folders have changed since the last look; returns whether they have."""
        if time.monotonic() - self.looked < LOOK_AGAIN_SECONDS:
            return False
        folders, files = find_font_files()
        self.looked = time.monotonic()
        if folders == self.folders:
            return False
        self.folders = folders
        self.faces = tuple(face for path in files for face in read_faces(path))
        self.preferred.clear()
        return True

    def in_order(self, font: Font) -> list[FontFile]:
        """Return the faces that draw text, the best for this font first."""
        asked = (font.bold, font.language)
        if asked not in self.preferred:
            text = (face for face in self.faces if not face.coloured)
            self.preferred[asked] = sorted(text, key=lambda face: _preference(face, font))
        return self.preferred[asked]


_installed = _Installed()


def choose(cluster: str, font: Font) -> Choice | None:
    """Return what draws the cluster in this font; None if no font on the machine can."""
    asked = (cluster, font.bold, font.language)
    if (found := _installed.choices.get(asked)) is not None:
        return found
    choice = _choose(cluster, font)
    if choice is None and _installed.look_again():
        choice = _choose(cluster, font)
    if choice is not None:
        _installed.choices[asked] = choice
    return choice


def _choose(cluster: str, font: Font) -> Choice | None:
    characters = visible(cluster)
    if is_emoji(cluster) and (found := _picture_font(characters)):
        return Choice("", found)
    if default_font(font.bold).covers(characters):
        return Choice("DejaVu Sans")
    face = _text_font(characters, font)
    return None if face is None else Choice(_registered(face))


def _picture_font(characters: str) -> FontFile | None:
    coloured = [face for face in _installed.faces if face.coloured]
    able = (face for face in coloured if face.covers(characters) and emoji.can_draw(face))
    if (found := next(able, None)) is None and _installed.look_again():
        return _picture_font(characters)
    return found


def _text_font(characters: str, font: Font) -> FontFile | None:
    """Return the best font that has all characters; of one script, the same where it can be."""
    script = unicodedata.name(characters[0], "?").split()[0]
    key = (script, font.bold, font.language)
    last = _installed.by_script.get(key)
    if last is not None and last.covers(characters):
        return last
    found = next((face for face in _installed.in_order(font) if face.covers(characters)), None)
    if found is not None:
        _installed.by_script[key] = found
    return found


def _preference(face: FontFile, font: Font) -> tuple[object, ...]:
    """Return the sort key of a face: the right form, sans serif, the right weight, upright."""
    language = next((name for name, fits in _LANGUAGES.items() if fits.search(face.family)), "SC")
    wanted = face.style.lower() == "bold" if font.bold else bool(_PLAIN.match(face.style))
    return (
        language != (font.language or "SC"),
        bool(_SPECIAL.search(face.family.replace("Sans Serif", ""))),
        not wanted,
        "sans" not in face.family.lower(),
        len(face.family),
        face.family,
        face.path,
        face.index,
    )


@cache
def default_font(bold: bool) -> FontFile:
    """Return DejaVu Sans, which comes with matplotlib."""
    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = f"{matplotlib.get_data_path()}/fonts/ttf/{file}"
    return FontFile(path, 0, "DejaVu Sans", "Bold" if bold else "Book", coloured=False)


@cache
def _registered(face: FontFile) -> str:
    """Make the face known to matplotlib, in this process, under a name of its own."""
    for weight in (400, 700):  # whatever weight is asked for
        entry = FontEntry(
            face.path, face.index, face.name, "normal", "normal", weight, "normal", "scalable"
        )
        fontManager.ttflist.append(entry)
    return face.name
