"""Knows the runs below some directories, each under a key that is made here."""

import os
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from threading import Lock

from attnmon_renderer.storage.run_reader import find_runs
from attnmon_renderer.view.runs.local_run import LocalRun

DISCOVERY_SECONDS = 5.0
"""How old the list of runs may be."""
SHARE_OF_TIME = 1 / 400
"""Of a core, for looking for runs in a large tree."""


class RunIndex:
    """The runs in and below directories. Threads may share it.

    Args:
        folders: The directories, without links in their paths.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(folders)
        self._looking = Lock()
        self._runs: dict[str, LocalRun] = {}
        self._next_look = 0.0

    def runs(self) -> dict[str, LocalRun]:
        """Return all runs by their keys; looks for new ones if the last look is a while ago.

        Whoever asks meanwhile is told of those that were known before.
        """
        is_due = time.monotonic() >= self._next_look
        if is_due and self._looking.acquire(blocking=not self._next_look):
            try:
                self._look()
            finally:
                self._looking.release()
        return self._runs

    def title(self, run: LocalRun) -> str:
        """Return a run's path from the directory that was given; that one's name for itself."""
        above = next((one for one in self._folders if run.folder.is_relative_to(one)), run.folder)
        inner = os.fspath(run.folder.relative_to(above))
        if inner == ".":
            return above.name
        return f"{above.name}/{inner}" if len(self._folders) > 1 else inner

    def _look(self) -> None:
        started = time.monotonic()
        if started < self._next_look:
            return  # another thread has just done it
        found = dict.fromkeys(folder for above in self._folders for folder in find_runs(above))
        keys = {key_of(folder): folder for folder in found}
        self._runs = {key: self._runs.get(key) or LocalRun(keys[key]) for key in keys}
        ended = time.monotonic()
        self._next_look = ended + max(DISCOVERY_SECONDS, (ended - started) / SHARE_OF_TIME)


def key_of(folder: Path) -> str:
    """Return the key of a run: the same for the same directory, also after a new start."""
    return blake2b(os.fsencode(folder), digest_size=8).hexdigest()
