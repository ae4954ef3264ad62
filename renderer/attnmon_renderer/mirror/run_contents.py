"""Lists what of a run's directory is mirrored, and tells files that grow from those that do not.

Only what attnmon wrote is: other names are the user's. Earlier runs that were moved below belong to
it; runs of other ranks and monitors have places of their own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attnmon_renderer.storage import earlier_runs, inventory, paths, regular_files
from attnmon_renderer.storage.json_fields import parse, record, text
from attnmon_renderer.storage.records import MOST_SUMMARY_BYTES

REWRITTEN_OFTEN = ("summary.json", "timeline.png")
"""Files that are written anew while the run goes on, and are uploaded at most now and then."""

_IDENTITY = record({"id": text}, {})


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the run, as it was when it was listed."""

    size: int
    changed: int
    """In nanoseconds since 1970."""


def grows(name: str) -> bool:
    """Return whether a file is appended to as long as the run goes on, and never rewritten."""
    own_name = name.rpartition("/")[2]
    return own_name.endswith(".jsonl") or own_name.startswith("events.out.tfevents.")


def is_rewritten_often(name: str) -> bool:
    """Return whether a file is written anew again and again while the run goes on."""
    return name.rpartition("/")[2] in REWRITTEN_OFTEN or name.startswith("animations/")


def run_id(folder: Path) -> str:
    """Return the id of the run in a directory; empty before its first capture."""
    try:
        described = parse(regular_files.read(folder / "run.json", MOST_SUMMARY_BYTES))
        identity: str = _IDENTITY(described)["id"]
    except (OSError, ValueError):
        return ""
    return identity


def belongs_to_run(name: str) -> bool:
    """Return whether a file's path in a run's directory is one that attnmon gives."""
    folder, _, below = name.partition("/")
    if earlier_runs.is_folder(folder):
        return belongs_to_run(below)
    own_name = name.rpartition("/")[2]
    if folder in inventory.RUN_FOLDERS:
        begin, end = inventory.RUN_FOLDERS[folder]
        return bool(below) and own_name.startswith(begin) and own_name.endswith(end)
    if paths.step_of(folder) is not None:
        return below == paths.STATISTICS or paths.is_removable(below)
    if name.endswith(paths.PACKED):
        return paths.step_of(name.removesuffix(paths.PACKED)) is not None
    return name in inventory.RUN_FILES


class RunContents:
    """The files of one run's directory.

    A folder of a step in which nothing has changed is listed once: with many steps most of the
    work would be to list again what is known.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, dict[str, LocalFile]]] = {}
        """By a step's folder, when that had last changed, and what was in it."""

    def files(self) -> dict[str, LocalFile]:
        """Return the run's files by name.

        The files that grow are listed first: what a line of the history tells of was written
        before the line.
        """
        runs = [self._folder, *earlier_runs.folders(self._folder)]
        found: dict[str, LocalFile] = {}
        for listed in (self._of_run, self._of_steps):
            for run in runs:
                below = "" if run == self._folder else f"{run.name}/"
                found |= {below + name: file for name, file in listed(run)}
        return found

    def _of_run(self, run: Path) -> Iterator[tuple[str, LocalFile]]:
        for name, status in regular_files.files_in(run, *inventory.RUN_FILES).items():
            yield name, _local_file(status)
        for folder in _folders_of_run(run):
            begin, end = inventory.RUN_FOLDERS.get(folder.partition("/")[0], ("", ""))
            for name, status in regular_files.files_in(run / folder).items():
                if name.startswith(begin) and name.endswith(end) and name[0] != ".":
                    yield f"{folder}/{name}", _local_file(status)

    def _of_steps(self, run: Path) -> Iterator[tuple[str, LocalFile]]:
        for name, status in regular_files.files_in(run).items():
            if paths.step_of(name.removesuffix(paths.PACKED)) is not None:
                yield name, _local_file(status)
        below = "" if run == self._folder else f"{run.name}/"
        for name in regular_files.folders_in(run):
            if paths.step_of(name) is not None:
                for inside, file in self._in_step(run / name, below + name).items():
                    yield f"{name}/{inside}", file

    def _in_step(self, folder: Path, name: str) -> dict[str, LocalFile]:
        try:
            changed = os.stat(folder, follow_symlinks=False).st_mtime_ns
        except OSError:  # it was removed, or packed, since it was listed
            return {}
        known = self._known.get(name)
        if known is None or known[0] != changed:
            statistics, may_go = inventory.capture_files(folder)
            files = {**statistics, **may_go}
            inside = {path.name: _local_file(status) for path, status in files.items()
                      if path.parent == folder}  # fmt: skip
            self._known[name] = known = (changed, inside)
        return known[1]


def _folders_of_run(run: Path) -> Iterator[str]:
    for folder in inventory.RUN_FOLDERS:
        yield folder
        for inner in regular_files.folders_in(run / folder):
            yield f"{folder}/{inner}"


def _local_file(status: os.stat_result) -> LocalFile:
    return LocalFile(status.st_size, status.st_mtime_ns)
