"""Which directory a run writes to: no two runs ever write the same file.

A directory in which another monitor is open is left to it: this one takes `monitor_2`,
`monitor_3` … below. Where only a renderer is left, finishing what was announced before the
training was killed, the run goes on: it gets the directory, and its renderer waits for that one.
"""

from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from attnmon.config.settings import make_writable_directory
from attnmon.link import descriptors, directory_lock


@dataclass
class RunDirectory:
    """A directory, and the locks on it; -1 where there is none."""

    path: Path
    writing: int = -1
    """For the renderer, which may have to wait until the lock is its own."""
    watching: int = -1

    def hand_over(self) -> None:
        """The renderer has a copy: a child forked from here must not keep another one."""
        self.writing = _closed(self.writing)

    def release(self) -> None:
        """The monitor is closed, or this is a forked child, whose copies are none of its own."""
        self.hand_over()
        self.watching = _closed(self.watching)


def claim_directory(save_dir: Path, started: float) -> RunDirectory:
    """The directory, or the first one below it that is free. Raises OSError.

    started: when this run was, in seconds since 1970; of several that wait, it tells who is first.
    """
    below = (save_dir / f"monitor_{number}" for number in count(2))
    claims = (_claim(place, started) for place in chain([save_dir], below))
    return next(claim for claim in claims if claim is not None)


def _claim(place: Path, started: float) -> RunDirectory | None:
    """None when another monitor is open there."""
    make_writable_directory(place)
    claim = RunDirectory(place)
    try:
        claim.watching = directory_lock.open_directory(place)
        claim.writing = directory_lock.open_directory(place)
    except OSError:  # it may be written to but not read: nobody can lock it
        claim.release()
        return claim
    # First this one: who comes next must not take our renderer for one that was left over.
    directory_lock.lock_watching(claim.watching)
    directory_lock.take_ticket(claim.writing, directory_lock.ticket_of(started))
    if directory_lock.lock_writing(claim.writing) or not directory_lock.is_watched_by_others(
        claim.watching
    ):
        return claim
    claim.release()
    return None


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        descriptors.close(descriptor)
    return -1
