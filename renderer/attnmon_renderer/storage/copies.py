"""Remembers of what a temporary copy is one, for whoever tells a user where a run is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ORIGINALS: dict[Path, str] = {}


@contextmanager
def copy_of(original: str, folder: Path) -> Iterator[None]:
    """Let a folder be called by its original's path or URL while the block runs."""
    _ORIGINALS[folder] = original
    try:
        yield
    finally:
        del _ORIGINALS[folder]


def shown_place(path: Path) -> str:
    """Return what a user calls a path: in a copy it is that of the original."""
    for folder, original in list(_ORIGINALS.items()):
        if path.is_relative_to(folder):
            return "/".join((original, *path.relative_to(folder).parts))
    return str(path)
