"""A line of text in runs, each with the fonts that draw it, as matplotlib wants them."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from matplotlib.font_manager import FontProperties

from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.font_choice import choose
from attnmon_renderer.drawing.text.font_files import FontFile
from attnmon_renderer.tokens.clusters import clusters, reads_leftwards, visible

BOX = "\N{WHITE SQUARE}"
DEJAVU = ("DejaVu Sans",)
_PLAIN = re.compile("[ -~\u00a0-\u00ac\u00ae-\u017f−…√→]*")
"""Text that DejaVu Sans has, and that reads from left to right letter by letter."""
_SHOWN_AS = {"\n": "↵", "\t": "⇥"}


class TextRun(NamedTuple):
    """A part of a line that is drawn at once: text, or one emoji as a picture."""

    string: str
    families: tuple[str, ...] = DEJAVU
    """For each character, the first of these that has it draws it."""
    picture: FontFile | None = None
    """The font of the emoji; None for text."""


@lru_cache(maxsize=256)
def font_properties(font: Font, families: tuple[str, ...] = DEJAVU) -> FontProperties:
    """Return the font for matplotlib, with every property set, so that no user setting applies."""
    return FontProperties(
        family=list(families),
        style="normal",
        variant="normal",
        weight="bold" if font.bold else "normal",
        stretch="normal",
        size=font.size,
    )


def is_plain(string: str) -> bool:
    """Return whether DejaVu Sans draws the line, whatever other fonts there are."""
    return _PLAIN.fullmatch(string) is not None


def runs(string: str, font: Font) -> tuple[TextRun, ...]:
    """Return the line in runs, from left to right; what no font has is a box.

    Within a run matplotlib joins letters, and puts them in the order in which they are read.
    """
    if is_plain(string):
        return (TextRun(string),)
    known = _known_runs(string, font)
    if any(BOX in run.string for run in known):
        return _make_runs(string, font)  # a font may have been installed since
    return known


def _make_runs(string: str, font: Font) -> tuple[TextRun, ...]:
    done: list[TextRun] = []
    for cluster in clusters(string):
        run = _run(cluster, font)
        if done and run.picture is None and done[-1].picture is None:
            families = dict.fromkeys(done[-1].families + run.families)
            done[-1] = TextRun(done[-1].string + run.string, tuple(families))
        else:
            done.append(run)
    return tuple(done[::-1] if reads_leftwards(string) else done)


_known_runs = lru_cache(maxsize=512)(_make_runs)


def _run(cluster: str, font: Font) -> TextRun:
    cluster = _SHOWN_AS.get(cluster, cluster)
    characters = visible(cluster)
    if not characters:
        return TextRun("")  # a joiner or a selector alone
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in characters):
        return TextRun(BOX)  # no font is asked: matplotlib takes no half of a surrogate pair
    choice = choose(cluster, font)
    if choice is None:
        return TextRun(BOX)
    if choice.picture is not None:
        return TextRun(cluster, (), choice.picture)
    shaped = cluster.replace("\ufe0e", "").replace("\ufe0f", "")
    return TextRun(shaped, tuple(dict.fromkeys((*DEJAVU, choice.family))))


def missing_characters(strings: Iterable[str], font: Font) -> list[str]:
    """Return the characters that no font on this machine can draw, in the order of the strings."""
    parts = (cluster for string in strings for cluster in clusters(string))
    return [
        cluster
        for cluster in dict.fromkeys(parts)
        if not cluster.isascii()
        and not any(unicodedata.category(c).startswith("C") for c in visible(cluster))
        and visible(cluster)
        and choose(cluster, font) is None
    ]
