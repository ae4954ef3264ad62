"""Tells a training that starts anew from one that is resumed, and moves an earlier run aside.

A directory holds one run. A training that starts anew in it is another run; what the earlier one
left is moved, as it is, into a folder below, `run_20261126-201829`, which is a run's directory too.
"""

import contextlib
import itertools
import os
import re
import time
from pathlib import Path

from attnmon.link import directory_lock
from attnmon_renderer.storage import inventory, paths, records, regular_files

_FOLDER = re.compile(r"run_\d{8}-\d{6}(_\d+)?")
"""The name of an earlier run's folder: when it began, in UTC."""


def is_new_run(history: Path, step: int) -> bool:
    """Return whether a training whose first capture is of this step is another run.

    It is resumed where it begins after the first step that was recorded. Where no later step than
    its own was, nothing could be mixed up: of each step the latest capture is shown.
    """
    first, last = records.first_capture(history), records.last_capture(history)
    if first is None or last is None:
        return False
    return step <= int(first["metadata"]["step"]) and step < int(last["metadata"]["step"])


def is_folder(name: str) -> bool:
    """Return whether an earlier run's folder is called so."""
    return _FOLDER.fullmatch(name) is not None


def folders(save_dir: Path) -> list[Path]:
    """Return the directories of the earlier runs below this one, oldest first."""
    names = filter(_FOLDER.fullmatch, regular_files.folders_in(save_dir))
    return [save_dir / name for name in sorted(names)]


def set_aside(save_dir: Path) -> Path:
    """Move all that an earlier run has left into a folder below; return that. Raises OSError.

    Files of other names are the user's and stay.
    """
    first = records.first_capture(save_dir / "history.jsonl")
    began = (first or {}).get("metadata", {}).get("timestamp", 0.0)
    with regular_files.opened_folder(save_dir) as source:
        name = _create_folder(save_dir, source, began)
        with regular_files.opened_folder(save_dir / name) as target:
            for moved in _of_the_run(save_dir):
                new_name = "summary.json" if moved == directory_lock.EARLIER_SUMMARY else moved
                os.rename(moved, new_name, src_dir_fd=source, dst_dir_fd=target)
    return save_dir / name


def go_on(save_dir: Path) -> None:
    """Let the summary be this training's, which goes on with the run that is there."""
    with contextlib.suppress(OSError):
        regular_files.remove(save_dir / directory_lock.EARLIER_SUMMARY)


def _create_folder(save_dir: Path, parent: int, began: float) -> str:
    """Create a folder for a run, or return the one that an interrupted move has begun to fill."""
    stem = f"run_{time.strftime('%Y%m%d-%H%M%S', time.gmtime(began))}"
    names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
    for name in names:
        try:
            regular_files.create_folder_in(parent, name)
        except FileExistsError:
            begun = name in regular_files.folders_in(save_dir)
            if not begun or regular_files.exists(save_dir / name / "history.jsonl"):
                continue
        return name
    raise AssertionError("names never end")


def _of_the_run(save_dir: Path) -> list[str]:
    """Return the names of an earlier run's files and folders; the history last.

    While the history is there, the run counts as not yet moved, should this be interrupted.
    """
    captures = inventory.capture_names(save_dir)
    packed = {name + paths.PACKED for name in captures}
    named = {*inventory.RUN_FILES, directory_lock.EARLIER_SUMMARY, *packed}
    files = set(regular_files.files_in(save_dir, *named)) - {"history.jsonl", "summary.json"}
    own_folders = {*captures, *inventory.RUN_FOLDERS} & set(regular_files.folders_in(save_dir))
    return [*sorted(files | own_folders), "history.jsonl"]
