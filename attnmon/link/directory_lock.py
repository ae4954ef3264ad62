"""Locks on a run's directory, which say who uses it and leave no file behind.

    writing    exclusive   held by the renderer to its end; travels to it with the Setup
    watching   shared      held by the training process as long as its monitor is open
    a ticket   shared      held by each renderer to its end: a later one lets it write first

The kernel releases them with the processes, however those end. A lock belongs to an open
descriptor, not to a process: it can be handed over, and copies in forked children keep it.

The order of runs is that of their tickets. A run takes its ticket, looks who is before it, and only
then tries the exclusive lock. Were the lock taken while a lower ticket waits, each of the two would
wait for the other for ever. Whoever has the lock writes, whatever tickets come later: a clock may
go backwards.
"""

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, process

EARLIER_SUMMARY = "earlier_summary.json"
"""The summary of the run before, until the first capture tells whether it is the same run."""
FIRST = 1
"""The number of a run that has the lock already: no ticket is lower."""


class Locks(Protocol):
    """The locks of one run on a directory, as in `DirectoryLocks`."""

    def watch(self) -> None: ...
    def take_ticket(self, number: int) -> None: ...
    def is_somebody_before(self, number: int) -> bool: ...
    def lock_writing(self) -> bool: ...
    def is_watched_by_others(self) -> bool: ...


def ticket_of(started: float) -> int:
    """Return the ticket's number of a run that was started then, in seconds since 1970."""
    return max(FIRST + 1, int(started * 1e6))


def queue_up(locks: Locks, ticket: int) -> int | None:
    """Return the number with which a new run's renderer is to `take_turn`.

    None if another monitor is open in the directory, which is left to it.
    """
    locks.watch()  # first: the next monitor must not take our renderer for one left over
    locks.take_ticket(ticket)
    if take_turn(locks, ticket):
        return FIRST
    return None if locks.is_watched_by_others() else ticket


def take_turn(locks: Locks, number: int) -> bool:
    """Take the exclusive lock if it is this run's turn; return whether it is held."""
    return not locks.is_somebody_before(number) and locks.lock_writing()


def open_directory(path: Path) -> int:
    """Return a descriptor by which to lock a directory; each is a holder of its own.

    Raises OSError, also where the path ends in a link.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


@dataclass(frozen=True)
class DirectoryLocks:
    """The locks of one run, by its descriptors of the directory."""

    writing: int
    """Of the exclusive lock and the ticket."""
    watching: int = -1

    def watch(self) -> None:
        """Mark the directory as watched by a monitor, where the system knows such locks."""
        try:
            _share(self.watching, 0)
        except (AttributeError, OSError):
            pass

    def take_ticket(self, number: int) -> None:
        """Queue up with a number, 1 or more, where the system knows such locks."""
        try:
            _share(self.writing, number)
        except (AttributeError, OSError):
            pass

    def is_somebody_before(self, number: int) -> bool:
        """Return whether another holds a lower ticket; False where the system cannot tell."""
        try:
            return _others_hold(self.writing, 1, number - 1)
        except (AttributeError, OSError):
            return False

    def lock_writing(self) -> bool:
        """Try to take the exclusive lock without waiting.

        True if it is held, or if the file system cannot lock directories, as some on a network.
        """
        try:
            fcntl.flock(self.writing, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def is_watched_by_others(self) -> bool:
        """Return whether another monitor watches; True where the system cannot tell."""
        try:
            return _others_hold(self.watching, 0, 1)
        except (AttributeError, OSError):
            return True


def keep_summary(folder: Path) -> None:
    """Rename a run's `summary.json`, unless one is kept already: then that is the earlier one.

    A training shows itself in `summary.json` from its construction on.
    """
    with contextlib.suppress(OSError):
        if not os.path.lexists(folder / EARLIER_SUMMARY):
            os.rename(folder / "summary.json", folder / EARLIER_SUMMARY)


def _share(descriptor: int, place: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_RDLCK, 0, place, 1, 0))


def _others_hold(descriptor: int, first: int, count: int) -> bool:
    if count < 1:
        return False  # to the kernel, a length of 0 means to the end of the file
    asked = _LOCK.pack(fcntl.F_WRLCK, 0, first, count, 0)  # whether this would be granted
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    return int(_LOCK.unpack(answer)[0]) != fcntl.F_UNLCK
