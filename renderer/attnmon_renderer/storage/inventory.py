"""Finds the files that attnmon wrote into a run's directory, and their sizes.

A file is recognized by its name alone, as `paths` gives it. Links and other names are the user's.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from attnmon_renderer.storage import paths, step_folder

_RUN_FILES = (
    "history.jsonl", "summary.json", "timeline.png", "animations/*.png",
    "tensorboard/events.out.tfevents.*", f"{paths.FAILED_FOLDER}/*.safetensors",
)  # fmt: skip


class StoredFiles(NamedTuple):
    """The size and age of some files."""

    size: int
    """Bytes in all."""
    written: float
    """When the latest of them was written, in seconds since 1970."""


def run_files(save_dir: Path) -> StoredFiles:
    """Measure the files that belong to no single capture."""
    return measure(path for pattern in _RUN_FILES for path in save_dir.glob(pattern))


def capture_names(save_dir: Path) -> set[str]:
    """Return the names of all captures' folders, packed ones without their suffix."""
    names = {path.name.removesuffix(paths.PACKED) for path in save_dir.glob("*step_*")}
    return {name for name in names if paths.step_of(name) is not None}


def capture_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return a capture's statistics, and its files that may be removed."""
    inside = [folder / name for name in _names_in(folder)]
    statistics = [path for path in inside if path.name == paths.STATISTICS]
    may_go = [path for path in inside if paths.is_removable(path.name)]
    pack = folder.with_name(folder.name + paths.PACKED)
    if pack.is_file() and not pack.is_symlink() and step_folder.is_step_zip(pack):
        may_go.append(pack)
    return statistics, may_go


def _names_in(folder: Path) -> Iterator[str]:
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield entry.name


def measure(files: Iterable[Path]) -> StoredFiles:
    """Measure those of the files that exist."""
    size, written = 0, 0.0
    for path in files:
        with contextlib.suppress(OSError):
            status = path.lstat()
            size, written = size + status.st_size, max(written, status.st_mtime)
    return StoredFiles(size, written)
