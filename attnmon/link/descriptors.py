"""Closes file descriptors, also a forked child's copies of them; reads and makes files by them."""

import contextlib
import os
import stat
import tempfile
import weakref
from collections.abc import Callable
from typing import IO, Protocol

_LAST_LINE_BYTES = 2000
"""How far back the last line may begin."""


def close(descriptor: int) -> None:
    """Close a descriptor. Errors are ignored: the system has released it all the same."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def read_tail(descriptor: int, nbytes: int) -> bytes:
    """Return the last bytes of a file, at most `nbytes`. Raises OSError."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, nbytes, max(0, size - nbytes))


def read_regular(descriptor: int, most: int) -> bytes:
    """Return what a regular file holds; nothing for another kind of file, or for a larger one."""
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > most:
            return b""
        return os.pread(descriptor, about.st_size, 0)
    except OSError:
        return b""


def make_nameless_file(write: Callable[[IO[bytes]], object]) -> int:
    """Return the descriptor of a file without a name, in memory if possible. Raises OSError.

    write: fills the file, which is then rewound.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("attnmon", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile(prefix="attnmon-") as file:
            descriptor = os.dup(file.fileno())
    try:
        with open(descriptor, "wb", closefd=False) as file:
            write(file)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        close(descriptor)
        raise
    return descriptor


def last_line(descriptor: int) -> str:
    """Return the last line of a file that is not blank; empty when there is none to be read."""
    try:
        tail = read_tail(descriptor, _LAST_LINE_BYTES)
    except OSError:
        return ""
    lines = tail.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


Identity = tuple[int, int, int]
"""Device, number and kind of a file."""


class OwnDescriptor:
    """A descriptor of ours, as long as it is: others may close it, and get its number anew.

    Programs that turn into daemons, and some libraries, close every descriptor from 3 on. What is
    opened next has our numbers, and must be neither read, written nor closed by us.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = identity(number)

    def is_ours(self) -> bool:
        """Return whether it is open, and still leads to what it led to."""
        return self._identity is not None and identity(self.number) == self._identity

    def close(self) -> bool:
        """Close it if it is still ours. False if it was taken from us before."""
        number, ours = self.number, self.is_ours()
        was_open, self._identity, self.number = self._identity is not None, None, -1
        if ours:
            close(number)
        return ours or not was_open


def identity(descriptor: int) -> Identity | None:
    """Return what an open descriptor leads to; None if it is not open."""
    try:
        found = os.fstat(descriptor)
    except (OSError, OverflowError):
        return None
    return found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)


class DescriptorOwner(Protocol):
    def abandon(self) -> None: ...


_owners: weakref.WeakSet[DescriptorOwner] = weakref.WeakSet()


def abandon_after_fork(owner: DescriptorOwner) -> None:
    """Have `owner.abandon()` called in every child that is forked while the owner is alive.

    A DataLoader worker that kept a copy of the socket would hide the end of the training process
    from the renderer. It closes its copy and does nothing else.
    """
    _owners.add(owner)


def _abandon_all() -> None:
    for owner in list(_owners):
        owner.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
