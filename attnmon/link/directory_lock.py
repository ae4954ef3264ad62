"""Locks on a run's directory, which say who uses it and leave no file behind.

    writing    exclusive   held by the renderer to its end; travels to it with the Setup
    watching   shared      held by the training process as long as its monitor is open
    a ticket   shared      held by each renderer: a later one lets it write first

The kernel releases them with the processes, however those end. A lock belongs to an open
descriptor, not to a process: it can be handed over, and copies in forked children keep it.
"""

import fcntl
import os
import struct
from pathlib import Path

_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, process


def open_directory(path: Path) -> int:
    """Return a descriptor by which to lock a directory; each is a holder of its own.

    A link that its user has chosen is followed, and must be in `path` no more: see `realpath`.
    Raises OSError.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def lock_writing(descriptor: int) -> bool:
    """Try to take the exclusive lock without waiting.

    True if it is held, or if the file system cannot lock directories, as some on a network.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def lock_watching(descriptor: int) -> None:
    """Mark the directory as watched by a monitor, where the system knows such locks."""
    try:
        _share(descriptor, 0)
    except (AttributeError, OSError):
        pass


def ticket_of(started: float) -> int:
    """Return the ticket number of a run that was started then, in seconds since 1970."""
    return max(1, int(started * 1e6))


def take_ticket(descriptor: int, number: int) -> None:
    """Queue up with a number, 1 or more, where the system knows such locks."""
    try:
        _share(descriptor, number)
    except (AttributeError, OSError):
        pass


def is_somebody_before(descriptor: int, number: int) -> bool:
    """Return whether a lower ticket is still held; False where the system cannot tell."""
    try:
        return _others_hold(descriptor, 1, number - 1)
    except (AttributeError, OSError):
        return False


def is_watched_by_others(descriptor: int) -> bool:
    """Return whether another monitor watches; True where the system cannot tell."""
    try:
        return _others_hold(descriptor, 0, 1)
    except (AttributeError, OSError):
        return True


def _share(descriptor: int, place: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_RDLCK, 0, place, 1, 0))


def _others_hold(descriptor: int, first: int, count: int) -> bool:
    if count < 1:
        return False  # to the kernel, a length of 0 means to the end of the file
    asked = _LOCK.pack(fcntl.F_WRLCK, 0, first, count, 0)  # whether this would be granted
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    return int(_LOCK.unpack(answer)[0]) != fcntl.F_UNLCK
