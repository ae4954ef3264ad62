"""Reads how a run stands from `summary.json` and the end of `history.jsonl`."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from attnmon_renderer.storage import paths, records, regular_files
from attnmon_renderer.storage.copies import shown_place

ENDED = ("closed", "trainer lost", "renderer stopped", "renderer lost", "off")
"""States after which nothing more is written."""


DEEPEST_RUN = 4
"""How many levels below a directory runs are looked for."""
MOST_FOLDERS = 10_000
"""How many folders are looked into for that: somebody may give a home directory."""


class NoRun(Exception):
    """A directory holds no run that can be read; says why, and what to give instead."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run's directory said when it was read."""

    folder: Path
    summary: dict[str, Any]
    last: dict[str, Any] | None
    """The last capture in `history.jsonl`; None if there is none."""
    damages: tuple[str, ...] = ()
    """A line for each thing in the summary that was left out."""

    @property
    def state(self) -> str:
        return str(self.summary.get("state", "unknown"))

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the run's process ids are of this machine."""
        return self.summary.get("host") == platform.node()

    def count(self, name: str) -> int:
        """Return a number of the summary; 0 if it is missing."""
        number: int = self.summary.get(name, 0)
        return number

    @property
    def dumps(self) -> list[dict[str, Any]]:
        """The dumps of retained steps: how many steps, and why."""
        listed: list[dict[str, Any]] = self.summary.get("dumps", [])
        return listed

    def processes(self) -> dict[int, bool | None]:
        """Return the renderer's process ids in the summary, and whether each is alive.

        None for a process on another machine: several often share a directory.
        """
        pids = self.summary.get("pids", [])
        return {pid: self._is_alive(pid) for pid in pids if pid > 0}

    @property
    def goes_on(self) -> bool:
        """Whether it is still written to, as far as can be told from this machine."""
        return not self.has_ended and any(each is not False for each in self.processes().values())

    def runs_below(self) -> list[Path]:
        """Return the directories of other monitors that were given the same one."""
        return runs_below(self.folder)

    def _is_alive(self, pid: int) -> bool | None:
        return is_alive(pid) if self.is_on_this_machine else None


def read_run(folder: Path) -> Run:
    """Read a run's directory. Raises `NoRun`."""
    path = folder / "summary.json"
    try:
        summary = records.read_summary(path)
    except FileNotFoundError:
        raise NoRun(_describe_missing_run(folder)) from None
    except (OSError, ValueError) as error:
        raise NoRun(f"{shown_place(path)} cannot be read: {error}") from error
    last = records.last_capture(folder / "history.jsonl")
    return Run(folder, summary.fields, last, summary.damages)


def runs_below(folder: Path) -> list[Path]:
    """Return the runs of other ranks, and of monitors that found the directory in use."""
    names = regular_files.folders_in(folder)
    below = (folder / name for name in names if paths.step_of(name) is None)
    return sorted(run for run in below if regular_files.exists(run / "summary.json"))


def find_runs(folder: Path) -> list[Path]:
    """Return a directory, if it is a run's, and all runs below it, in the order of their names.

    It looks a few levels deep, and into `MOST_FOLDERS` at most.
    """
    found, level, left = [], [folder], MOST_FOLDERS
    for _ in range(DEEPEST_RUN + 1):
        found += [run for run in level if regular_files.exists(run / "summary.json")]
        left -= len(level)
        level = list(islice(_folders_below(level), max(0, left)))
    return sorted(found)


def _folders_below(level: list[Path]) -> Iterator[Path]:
    """Yield the folders in these folders, but for those of steps and hidden ones."""
    for above in level:
        for name in regular_files.folders_in(above):
            if paths.step_of(name) is None and not name.startswith("."):
                yield above / name


def is_alive(pid: int) -> bool:
    """Return whether a process of that id can be seen from here."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _describe_missing_run(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no directory {shown_place(folder)}"
    runs = runs_below(folder)
    hint = f"; runs below it: {', '.join(map(shown_place, runs[:5]))}" if runs else ""
    return (
        f"no run in {shown_place(folder)}: it has no summary.json{hint}. Give a monitor's "
        "save_dir. If one was just made there, its renderer has had no processor time yet: ask "
        "again in a few seconds"
    )
