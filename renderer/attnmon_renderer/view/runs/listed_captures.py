"""Lists the captures that a run has on disk, each under a key that changes when it is redrawn."""

import os
import sys
from collections.abc import Container
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from zipfile import BadZipFile

from attnmon_renderer.storage import packed_step, paths, regular_files

MOST_ENTRIES = 100_000
"""Of a run's directory; further ones are not looked at."""
MOST_PICTURES = 4096
"""Of one capture."""
MIME_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
"""Of the pictures that browsers show."""

_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ListedCapture:
    """What is on disk of one capture."""

    key: str
    """Its name in addresses: another one as soon as anything of the capture has changed."""
    step: int
    epoch: int | None
    """The epoch because of which it was made; None if it was not."""
    folder: str
    """The folder's name, also where it is a zip file."""
    packed: bool
    has_maps: bool
    pictures: tuple[str, ...]
    noticed: int
    """Bytes that the history had when the capture was first seen like this."""


class ListedCaptures:
    """The captures of one run, looked at again when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps: dict[str, _Stamp] = {}
        self._by_folder: dict[str, ListedCapture] = {}
        self.by_key: dict[str, ListedCapture] = {}
        """In step order."""

    def refresh(self, history_size: int, last_whole: float) -> None:
        """Look at each folder that has changed since the last time.

        last_whole: the step of the last capture that is whole; a later one is still being drawn.
        """
        entries = regular_files.statuses_in(self._folder, MOST_ENTRIES)
        stamps = {
            name: stamp
            for name, stamp in self._stamps_of(entries).items()
            if (paths.step_of(name) or 0) <= last_whole
        }
        if stamps == self._stamps:
            return
        for name, stamp in stamps.items():
            if self._stamps.get(name) != stamp:
                self._by_folder[name] = self._read(name, stamp, history_size, entries)
        for name in self._stamps.keys() - stamps.keys():
            del self._by_folder[name]
        self._stamps = stamps
        in_order = sorted(self._by_folder.values(), key=lambda each: (each.step, each.folder))
        self.by_key = {capture.key: capture for capture in in_order}

    def unchanged(self, key: str) -> ListedCapture | None:
        """Return a capture that is as it was when it got this key; None if it is not."""
        if (capture := self.by_key.get(key)) is None:
            return None
        names = (capture.folder, capture.folder + paths.PACKED)
        found = regular_files.statuses_of(self._folder, *names)
        is_same = self._stamps_of(found).get(capture.folder) == self._stamps[capture.folder]
        return capture if is_same else None

    def _stamps_of(self, entries: dict[str, os.stat_result]) -> dict[str, _Stamp]:
        """Return, by a capture's folder, what changes as soon as anything of the capture does.

        A folder's own time changes when a file in it is replaced; maps are looked at besides.
        """
        ours = {
            name: entries[name] for name in entries if paths.step_of(_folder_of(name)) is not None
        }
        maps = (f"{name}/{paths.MAPS}" for name in ours if name == _folder_of(name))
        ours |= regular_files.statuses_of(self._folder, *maps)
        found: dict[str, _Stamp] = {}
        for name, status in sorted(ours.items()):
            folder = _folder_of(name.partition("/")[0])
            own = (status.st_mode, status.st_ino, status.st_mtime_ns, status.st_size)
            found[folder] = (*found.get(folder, ()), *own)
        return found

    def _read(
        self, name: str, stamp: _Stamp, history_size: int, entries: Container[str]
    ) -> ListedCapture:
        packed = self._members(name) if name + paths.PACKED in entries else []
        files = packed or list(regular_files.files_in(self._folder / name))
        pictures = sorted(file for file in files if os.path.splitext(file)[1] in MIME_TYPES)
        step = paths.step_of(name) or 0
        digest = blake2b(repr((name, stamp)).encode("utf-8", "replace"), digest_size=6).hexdigest()
        return ListedCapture(
            key=f"{step}-{digest}",
            step=step,
            epoch=_epoch_of(name),
            folder=name,
            packed=bool(packed),
            has_maps=paths.MAPS in files,
            pictures=tuple(map(sys.intern, pictures[:MOST_PICTURES])),
            noticed=history_size,
        )

    def _members(self, name: str) -> list[str]:
        """Return the names in the zip file of a step; none where there is none that can be read."""
        try:
            members = packed_step.members(self._folder / (name + paths.PACKED))
        except (OSError, BadZipFile):
            return []
        return [member.filename for member in members]


def _folder_of(name: str) -> str:
    return name.removesuffix(paths.PACKED)


def _epoch_of(folder: str) -> int | None:
    kind, _, rest = folder.partition("_")
    return int(rest.partition("_")[0]) if kind == "epoch" else None
