"""The lock that lets one renderer at a time write into a run's directory.

After a kill and a restart two renderers have the same directory: the old one finishes what was
announced to it, and the new one waits. Of several that wait, the one whose monitor was created
first is next. The kernel keeps the order, by locks.
"""

import os

from attnmon.link import directory_lock


class WriteLock:
    """A renderer's hold on the lock of its directory.

    Args:
        descriptor: of the directory, from the training process; -1 when none came, and the
            renderer may write at once.
        started: when the monitor was created, in seconds since 1970.
    """

    def __init__(self, descriptor: int, started: float = 0.0) -> None:
        self._descriptor = descriptor
        self._ticket = directory_lock.ticket_of(started)
        self._is_held = descriptor < 0

    @property
    def descriptors(self) -> set[int]:
        """What every process that writes must keep open: the lock ends with the last of them."""
        return set() if self._descriptor < 0 else {self._descriptor}

    def try_acquire(self) -> bool:
        """Take the lock if it is free, without waiting. True if it is held now."""
        if not self._is_held and not directory_lock.is_somebody_before(
            self._descriptor, self._ticket
        ):
            self._is_held = directory_lock.lock_writing(self._descriptor)
        return self._is_held

    def release(self) -> None:
        """Give up the lock: this process writes nothing more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
