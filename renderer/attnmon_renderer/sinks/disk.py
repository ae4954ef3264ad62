"""What a run's directory may hold: the oldest pictures make room for the latest.

What is written is measured when it is written. Only files that `layout` names are counted, and
only pictures and raw weights are ever removed; numbers stay, and so does what grows.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from attnmon_renderer import layout
from attnmon_renderer.sinks import pictures

FOR_PICTURES_ONLY = 0.5
"""Of the budget: TensorBoard's events never shrink, and must not drive all pictures out."""

GROWING = ("history.jsonl", "summary.json", "timeline.png")


class _Held(NamedTuple):
    """Some files of a capture."""

    size: int
    written: float
    """When the latest of them was."""


class Disk:
    """The sizes of one run's files. Made once a recorder, by one look at what is there."""

    def __init__(self, save_dir: Path, budget: int, wants_pictures: bool) -> None:
        self._save_dir = save_dir
        self._budget = budget
        self._wants_pictures = wants_pictures
        self._pictures: dict[str, _Held] = {}
        """Of each capture that has some, by its folder's name; raw weights among them."""
        self._statistics: dict[str, int] = {}
        said = _said_before(save_dir / "summary.json")
        self._removed_before: int = said.get("pictures_removed", 0)
        self._removed: set[str] = set()
        self._without: int = said.get("without_pictures", 0)
        for folder in _captures(save_dir):
            self._measure(folder)
        self.full = not self._make_room()
        """There is no room for the pictures of a single capture."""

    @property
    def takes_events_with_pictures(self) -> bool:
        """Whether TensorBoard may have its own copies of the pictures."""
        return not self.full and self._growing() < self._budget * (1 - FOR_PICTURES_ONLY)

    def add(self, folder: str) -> None:
        """All of a capture is written: the oldest pictures go if that was too much."""
        self._measure(folder)
        had_pictures = folder in self._pictures
        if self._wants_pictures and not had_pictures and folder not in self._removed:
            self._without += self.full
        fits = self._make_room()
        self.full = self.full or not fits or (had_pictures and not self._pictures)

    def account(self) -> dict[str, int]:
        """For `summary.json`."""
        return {
            "budget": self._budget,
            "used": self._used(),
            "pictures_removed": self._removed_before + len(self._removed),
            "without_pictures": self._without,
        }

    def _make_room(self) -> bool:
        """Whether what is there fits now."""
        while (used := self._used()) > self._budget and self._pictures:
            self._remove(min(self._pictures, key=lambda folder: self._pictures[folder].written))
        return used <= self._budget

    def _used(self) -> int:
        of_pictures = sum(held.size for held in self._pictures.values())
        return of_pictures + sum(self._statistics.values()) + self._growing()

    def _growing(self) -> int:
        return _held(
            (
                *(self._save_dir / name for name in GROWING),
                *(self._save_dir / "animations").glob("*.png"),
                *(self._save_dir / "tensorboard").glob("events.out.tfevents.*"),
            )
        ).size

    def _measure(self, folder: str) -> None:
        statistics, may_go = _files_of(self._save_dir / folder)
        self._statistics[folder] = _held(statistics).size
        self._pictures.pop(folder, None)
        if may_go:
            self._pictures[folder] = _held(may_go)

    def _remove(self, folder: str) -> None:
        for path in _files_of(self._save_dir / folder)[1]:
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            (self._save_dir / folder).rmdir()  # only when nothing is left in it
        self._removed.add(folder)
        self._measure(folder)
        if (stuck := self._pictures.pop(folder, None)) is not None:
            self._statistics[folder] += stuck.size  # it may not be removed, and is not tried again


def _captures(save_dir: Path) -> set[str]:
    """The names of their folders, and of the files that take the place of one."""
    names = {path.name.removesuffix(layout.PACKED) for path in save_dir.glob("*step_*")}
    return {name for name in names if layout.step_of(name) is not None}


def _files_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """A capture's statistics, and what may go; links and other names are the user's."""
    inside = [folder / name for name in _names_in(folder)]
    statistics = [path for path in inside if path.name == layout.STATISTICS]
    may_go = [path for path in inside if layout.may_go(path.name)]
    pack = folder.with_name(folder.name + layout.PACKED)
    if pack.is_file() and not pack.is_symlink() and pictures.is_ours(pack):
        may_go.append(pack)
    return statistics, may_go


def _names_in(folder: Path) -> Iterator[str]:
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield entry.name


def _held(paths: Iterable[Path]) -> _Held:
    """Of those that are there."""
    size, written = 0, 0.0
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.lstat()
            size, written = size + status.st_size, max(written, status.st_mtime)
    return _Held(size, written)


def _said_before(summary: Path) -> dict[str, Any]:
    """What the last recorder of this directory had counted."""
    try:
        said = json.loads(summary.read_bytes())["disk"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}
