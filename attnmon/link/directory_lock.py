"""Who is at a run's directory: two locks on the directory itself, which leave no file behind.

    writing    exclusive   the renderer's, to its end; it travels to it with the Setup
    watching   shared      the training process's, as long as its monitor is open
    a ticket   shared      each renderer's: whoever comes later lets it go first

The kernel lets go of them with the processes, however those end. A lock is the open descriptor's,
not a process's, so it can be handed over; copies in forked children keep it.
"""

import fcntl
import os
import struct
from pathlib import Path

_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, process


def open_directory(path: Path) -> int:
    """A descriptor to lock it by; each is another holder. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def lock_writing(descriptor: int) -> bool:
    """Whether it is this descriptor's now, or was; never waits.

    True as well where directories cannot be locked, as on some network file systems.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def lock_watching(descriptor: int) -> None:
    """Say by this descriptor that a monitor is open, where the system knows such locks."""
    try:
        _share(descriptor, 0)
    except (AttributeError, OSError):
        pass


def ticket_of(started: float) -> int:
    """The number of a run that was started then, in seconds since 1970."""
    return max(1, int(started * 1e6))


def take_ticket(descriptor: int, number: int) -> None:
    """Queue up by this descriptor, where the system knows such locks; number: 1 or more."""
    try:
        _share(descriptor, number)
    except (AttributeError, OSError):
        pass


def is_somebody_before(descriptor: int, number: int) -> bool:
    """Whether a ticket with a lower number is still held; False where the system cannot tell."""
    try:
        return _others_hold(descriptor, 1, number - 1)
    except (AttributeError, OSError):
        return False


def is_watched_by_others(descriptor: int) -> bool:
    """Whether somebody else has said so; True where the system cannot tell."""
    try:
        return _others_hold(descriptor, 0, 1)
    except (AttributeError, OSError):
        return True


def _share(descriptor: int, place: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_RDLCK, 0, place, 1, 0))


def _others_hold(descriptor: int, first: int, count: int) -> bool:
    if count < 1:
        return False  # to the kernel, 0 is all there is
    asked = _LOCK.pack(fcntl.F_WRLCK, 0, first, count, 0)  # whether this would be granted
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    return int(_LOCK.unpack(answer)[0]) != fcntl.F_UNLCK
