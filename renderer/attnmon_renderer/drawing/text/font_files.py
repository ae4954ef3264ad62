"""The font files on this machine, looked for by ourselves: a list that somebody kept is stale.

The folders are fontconfig's, those of the XDG base directories, and a Mac's. A file is opened only
to ask for its names and its characters.
"""

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from matplotlib.ft2font import FaceFlags, FT2Font

_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_MOST_FILES = 20_000
_USUAL = (
    "/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/X11/fonts", "/Library/Fonts",
    "/System/Library/Fonts", "~/Library/Fonts", "~/.fonts",
)  # fmt: skip
_USELESS = re.compile(r"last ?resort|adobe blank|barcode", re.IGNORECASE)
"""Fonts that have a shape for a character which nobody can read."""
_DIRECTORY = re.compile(r"<dir\b([^>]*)>([^<]+)</dir>")

Folders = dict[str, int]
"""Each folder that holds fonts, and when it was changed."""


@dataclass(frozen=True, slots=True)
class FontFile:
    """One face of a font file."""

    path: str
    index: int
    """Number of the face in its file."""
    family: str
    style: str
    coloured: bool
    """Its glyphs are pictures in colours: an emoji font."""

    @property
    def name(self) -> str:
        """A name that no other face has."""
        return f"attnmon {self.path}#{self.index}"

    def covers(self, characters: str) -> bool:
        """Whether the font has a glyph for each character; not if it cannot be read any more."""
        try:
            face = FT2Font(self.path, face_index=self.index)
            return all(face.get_char_index(ord(character)) for character in characters)
        except (OSError, RuntimeError):
            return False


def font_folders() -> Iterator[str]:
    """Yield the folders in which this machine keeps fonts; some may not exist."""
    home_share = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    shares = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    yield from (f"{share}/fonts" for share in (home_share, *shares.split(":")))
    yield from (*_USUAL, f"{sys.prefix}/share/fonts", f"{sys.prefix}/fonts")
    yield from _fontconfig_folders(home_share)


def _fontconfig_folders(home_share: str) -> Iterator[str]:
    configured = os.environ.get("FONTCONFIG_FILE") or "/etc/fonts/fonts.conf"
    more = Path("/etc/fonts/conf.d").glob("*.conf")
    for file in (Path(configured), Path("/etc/fonts/local.conf"), *sorted(more)):
        with suppress(OSError, ValueError):
            for attributes, folder in _DIRECTORY.findall(file.read_text()):
                in_share = '"xdg"' in attributes
                yield f"{home_share}/{folder.strip()}" if in_share else folder.strip()


def find_font_files() -> tuple[Folders, list[str]]:
    """Return the folders with their times of change, and the font files in them."""
    folders: Folders = {}
    files: list[str] = []
    for top in font_folders():
        for root, below, names in os.walk(os.path.expanduser(top), followlinks=True):
            real = os.path.realpath(root)
            if real in folders or len(files) > _MOST_FILES:
                below.clear()
                continue
            with suppress(OSError):
                folders[real] = os.stat(real).st_mtime_ns
            files += (f"{real}/{name}" for name in names if name.lower().endswith(_SUFFIXES))
    return folders, files


def read_faces(path: str) -> Iterator[FontFile]:
    """Yield the faces of a font file whose characters can be drawn; none if it is no font file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return
        count = 1
        for index in range(64):
            if index < count:
                face = FT2Font(path, face_index=index)
                count = face.num_faces
                coloured = FaceFlags.COLOR in face.face_flags
                if (face.scalable or coloured) and not _USELESS.search(face.family_name):
                    yield FontFile(path, index, face.family_name, face.style_name, coloured)
    except (OSError, RuntimeError, UnicodeDecodeError):
        return
