"""Finds the files that attnmon wrote into a run's directory, and their sizes.

A file is recognized by its name alone, as `paths` gives it. Links and other names are the user's.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from attnmon_renderer.storage import paths, regular_files, step_folder

RUN_FILES = (
    "history.jsonl", "alerts.jsonl", "summary.json", "run.json", "rank.json", "timeline.png",
)  # fmt: skip
"""Files that belong to no single capture."""
RUN_FOLDERS = {
    "animations": ("", ".png"),
    "tensorboard": ("events.out.tfevents.", ""),
    paths.FAILED_FOLDER: ("", ".safetensors"),
}
"""Folders of files that belong to no single capture; how the names of these begin and end."""


class StoredFiles(NamedTuple):
    """The size and age of some files."""

    size: int
    """Bytes in all."""
    written: float
    """When the latest of them was written, in seconds since 1970."""


class CaptureFiles(NamedTuple):
    """The files of one capture."""

    statistics: dict[Path, os.stat_result]
    """What stays."""
    may_go: dict[Path, os.stat_result]
    """Pictures and raw weights, which may be removed."""


def run_files(save_dir: Path) -> StoredFiles:
    """Measure the files that belong to no single capture."""
    found = list(regular_files.files_in(save_dir, *RUN_FILES).values())
    for folder, (first, last) in RUN_FOLDERS.items():
        files = regular_files.files_in(save_dir / folder).items()
        found += [status for name, status in files if name[: len(first)] == first
                  and name.endswith(last)]  # fmt: skip
    return measure(found)


def capture_names(save_dir: Path) -> set[str]:
    """Return the names of all captures' folders, packed ones without their suffix."""
    names = {*regular_files.folders_in(save_dir), *_packed(save_dir)}
    return {name for name in names if paths.step_of(name) is not None}


def all_capture_files(save_dir: Path) -> Iterator[tuple[str, CaptureFiles]]:
    """Yield the name of each capture's folder, packed ones without their suffix, and its files."""
    packed = _packed(save_dir)
    for name, inside in regular_files.measured_folders(save_dir):
        if paths.step_of(name) is not None and name not in packed:
            yield name, _sorted_files(save_dir / name, inside)
    for name in packed:
        if paths.step_of(name) is not None:
            yield name, capture_files(save_dir / name)


def _packed(save_dir: Path) -> set[str]:
    files = regular_files.files_in(save_dir)
    return {name.removesuffix(paths.PACKED) for name in files if name.endswith(paths.PACKED)}


def capture_files(folder: Path) -> CaptureFiles:
    """Return a capture's statistics, and its files that may be removed."""
    found = _sorted_files(folder, regular_files.files_in(folder))
    pack = folder.with_name(folder.name + paths.PACKED)
    for status in regular_files.files_in(pack.parent, pack.name).values():
        if step_folder.is_step_zip(pack):
            found.may_go[pack] = status
    return found


def _sorted_files(folder: Path, inside: dict[str, os.stat_result]) -> CaptureFiles:
    found = CaptureFiles({}, {})
    for name, status in inside.items():
        if name == paths.STATISTICS:
            found.statistics[folder / name] = status
        elif paths.is_removable(name):
            found.may_go[folder / name] = status
    return found


def measure(files: Iterable[os.stat_result]) -> StoredFiles:
    """Return the size and age of files of this status."""
    size, written = 0, 0.0
    for status in files:
        size, written = size + status.st_size, max(written, status.st_mtime)
    return StoredFiles(size, written)
