"""The lock that lets one renderer at a time write into a run's directory.

After a kill and a restart two renderers have the same directory: the old one finishes what was
announced to it, and the new one waits. Of several that wait, the one whose monitor was created
first is next. The kernel keeps the order, by locks.
"""

import os

from attnmon.link import directory_lock
from attnmon.link.directory_lock import DirectoryLocks


class WriteLock:
    """A renderer's hold on the lock of its directory.

    Args:
        descriptor: of the directory, from the training process; -1 when none came, and the
            renderer may write at once.
        number: with which the run waits for its turn, as `directory_lock` has given it.
    """

    def __init__(self, descriptor: int, number: int = directory_lock.FIRST) -> None:
        self._descriptor = descriptor
        self._number = number
        self._is_held = descriptor < 0

    @property
    def descriptors(self) -> set[int]:
        """What every process that writes must keep open: the lock ends with the last of them."""
        return set() if self._descriptor < 0 else {self._descriptor}

    def try_acquire(self) -> bool:
        """Take the lock if it is free and this run's, without waiting. True if it is held now."""
        if not self._is_held:
            self._is_held = directory_lock.take_turn(DirectoryLocks(self._descriptor), self._number)
        return self._is_held

    def release(self) -> None:
        """Give up the lock: this process writes nothing more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
