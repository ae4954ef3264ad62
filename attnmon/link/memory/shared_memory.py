"""POSIX shared memory without a name, and without a process that tracks it.

Before Python 3.13, `SharedMemory` has a resource tracker, a process of its own, remove at the end
what has a name then. Here the name is removed at once. What is in the way of that are two calls in
its code; this is the same code with those calls doing nothing. Replacing them in the module itself
would take them from other threads as well.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import shared_memory
from multiprocessing.shared_memory import SharedMemory
from types import FunctionType
from typing import Any


class _NoTracker:
    """Stands in for the module `resource_tracker`."""

    @staticmethod
    def register(name: str, kind: str) -> None: ...

    @staticmethod
    def unregister(name: str, kind: str) -> None: ...


def _untracked(method: Callable[..., Any]) -> Any:
    assert isinstance(method, FunctionType)
    names = {**vars(shared_memory), "resource_tracker": _NoTracker}
    return FunctionType(method.__code__, names, method.__name__, method.__defaults__)


class _Untracked(SharedMemory):
    if sys.version_info < (3, 13):
        __init__ = _untracked(SharedMemory.__init__)
        unlink = _untracked(SharedMemory.unlink)


def open_shared_memory() -> int:
    """Return the descriptor of a new piece of shared memory that has no name. Raises OSError."""
    if sys.version_info >= (3, 13):
        segment = SharedMemory(create=True, size=1, track=False)
    else:
        segment = _Untracked(create=True, size=1)
    try:
        segment.unlink()
        return os.dup(segment._fd)  # there is no public way
    finally:
        with suppress(OSError):
            segment.close()
