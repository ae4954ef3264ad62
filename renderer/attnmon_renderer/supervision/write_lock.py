"""Whose turn it is to write into a run's directory.

After a kill and a restart two renderers stand at one directory: the old one finishes what was
announced to it, and the new one waits. Of several that wait, the one whose monitor was made first
is next. The kernel keeps the order, by locks.
"""

import os

from attnmon.link import directory_lock


class WriteLock:
    """The lock on the directory, as it came from the training process; -1 when none came."""

    def __init__(self, descriptor: int, started: float = 0.0) -> None:
        self._descriptor = descriptor
        self._ticket = directory_lock.ticket_of(started)
        self._is_held = descriptor < 0

    @property
    def descriptors(self) -> set[int]:
        """To be kept open by every process that writes, so that the lock ends with the last."""
        return set() if self._descriptor < 0 else {self._descriptor}

    def try_acquire(self) -> bool:
        """Whether this renderer may write; from then on it may."""
        if not self._is_held and not directory_lock.is_somebody_before(
            self._descriptor, self._ticket
        ):
            self._is_held = directory_lock.lock_writing(self._descriptor)
        return self._is_held

    def release(self) -> None:
        """Nothing more is written."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
