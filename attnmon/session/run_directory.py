"""Claims the directory that a run writes to, so that no two runs ever write the same file.

A directory in which another monitor is open is left to it: this one takes `monitor_2`,
`monitor_3` … below. Where only a renderer is left, finishing what was announced before the
training was killed, the run goes on: it gets the directory, and its renderer waits for that one.
"""

import os
import stat
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from attnmon.config.settings import make_writable_directory
from attnmon.link import descriptors, directory_lock
from attnmon.link.directory_lock import DirectoryLocks
from attnmon.options import PRIVATE_FOLDER


@dataclass
class RunDirectory:
    """A directory, and the descriptors that hold its locks; -1 where there is none."""

    path: Path
    writing: int = -1
    """The lock that the renderer writes under; it may have to wait until it has it."""
    watching: int = -1
    """The lock that shows other monitors that a training is watched here."""
    number: int = directory_lock.FIRST
    """With which the renderer waits for its turn."""
    identity: descriptors.Identity | None = None
    """What its descriptors lead to: others may close them, and get their numbers."""

    @property
    def may_hold_run(self) -> bool:
        """Whether an earlier run is there, or is still being finished."""
        history = self.path / "history.jsonl"
        return self.number != directory_lock.FIRST or os.path.lexists(history)

    def close_writing(self) -> None:
        """Close our copy of the writing lock, once the renderer has its own.

        Otherwise a child that is forked later would hold the lock as well.
        """
        self.writing = self._closed(self.writing)

    def close(self) -> None:
        """Close our copies of the locks: at the end, or in a forked child."""
        self.close_writing()
        self.watching = self._closed(self.watching)

    def _closed(self, descriptor: int) -> int:
        if descriptor >= 0 and descriptors.identity(descriptor) == self.identity:
            descriptors.close(descriptor)
        return -1


def claim_directory(save_dir: Path, started: float, mode: int = PRIVATE_FOLDER) -> RunDirectory:
    """Claim the directory, or the first one below it that is free. Raises OSError.

    `started`: when this run was started, in seconds since 1970; of several runs that wait for one
    directory, the first one started gets it first. `mode`: of a folder that has to be made.
    """
    below = (save_dir / f"monitor_{number}" for number in count(2))
    no_links = (folder for folder in below if not folder.is_symlink())
    claims = (_claim(folder, started, mode) for folder in chain([save_dir], no_links))
    return next(claim for claim in claims if claim is not None)


def _claim(folder: Path, started: float, mode: int) -> RunDirectory | None:
    """Claim this directory; None when another monitor is open there."""
    make_writable_directory(folder, mode)
    claim = RunDirectory(folder)
    try:
        place = folder.resolve()
        claim.watching = directory_lock.open_directory(place)
        claim.identity = descriptors.identity(claim.watching)
        claim.writing = directory_lock.open_directory(place)
    except OSError:  # it may be written to but not read: nobody can lock it
        claim.close()
        return claim
    number = directory_lock.queue_up(
        DirectoryLocks(claim.writing, claim.watching), directory_lock.ticket_of(started)
    )
    if number is None:
        claim.close()
        return None
    claim.number = number
    return claim


def describe_strangers(folder: Path) -> str:
    """Return a warning if others may put files into a directory; empty if only its user may."""
    try:
        found = folder.stat()
    except OSError:
        return ""
    if found.st_uid not in (os.geteuid(), 0):
        who = f"it belongs to user {found.st_uid}, and this is user {os.geteuid()}"
    elif found.st_mode & stat.S_IWOTH:
        who = f"everybody may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return ""
    return (
        f"save_dir={str(folder)!r} is not yours alone: {who}. Links and other files that are put "
        "there are left alone, but whoever puts them there can spoil what this run writes. Choose "
        "a directory of your own, or chmod 700 this one."
    )
