"""Who is at a run's directory: two locks on the directory itself, which leave no file behind.

    writing    exclusive   the renderer's, to its end; it travels to it with the Setup
    watching   shared      the training process's, as long as its monitor is open

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
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_RDLCK, 0, 0, 0, 0))
    except (AttributeError, OSError):
        pass


def is_watched_by_others(descriptor: int) -> bool:
    """Whether somebody else has said so; True where the system cannot tell."""
    asked = _LOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0)  # whether this would be granted
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    except (AttributeError, OSError):
        return True
    return int(_LOCK.unpack(answer)[0]) != fcntl.F_UNLCK
