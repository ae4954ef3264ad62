"""Makes chosen calls to the system fail, by way of Python: in a trainer's process, or a renderer's.

Nothing in the product knows of it. A renderer loads this file before it serves: `renderer_boot`.
"""

import builtins
import errno
import importlib
import io
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import accumulate, cycle, repeat, takewhile
from pathlib import Path
from typing import Any

import attnmon

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)
_fork_exec = subprocess._fork_exec  # type: ignore[attr-defined]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Calls:
    """Counts the calls of a task. In the first the first fails, in the next the second, and so on.

    Where `on`, all that come after it in its task fail, too.
    """

    def __init__(self, on: bool, errors: tuple[int, ...], nth: int = 1) -> None:
        self.nth = nth
        self.failed: list[str] = []
        """Those of this task."""
        self._call = 0
        self._on = on
        self._errors = cycle(errors)

    def begin(self) -> None:
        """A new task; the one that failed in the last one goes well now."""
        self.nth += bool(self.failed)
        self._call = 0
        self.failed = []

    def note(self, name: str) -> None:
        """Raises OSError if this is the call that is to fail."""
        self._call += 1
        if self._call == self.nth or (self._on and self._call > self.nth):
            self.failed.append(name)
            number = next(self._errors)
            raise OSError(number, os.strerror(number))

    def failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if name == "close":  # the system may complain, and lets go of it all the same
                call(*args, **kwargs)
                return self.note(name)
            self.note(name)
            return call(*args, **kwargs)

        return called


class FailingFile(io.FileIO):
    """A file whose writes are calls, too."""

    calls: Calls

    def write(self, content: Any) -> int:
        self.calls.note("write")
        return super().write(content)


def fail_writing_in(role: str, on: bool, log: str) -> None:
    """In a renderer: what its worker, or its recorder, writes fails.

    Each of their tasks begins with a `select.select`. The first that failed is listed in `log`.
    """
    calls = Calls(on, DISK_ERRORS)
    real_open, real_select, real_os_open = builtins.open, select.select, os.open

    def is_on() -> bool:
        return f"attnmon_renderer.{role}" in sys.modules

    def selected(*args: Any) -> Any:
        if is_on():
            if calls.failed:
                with real_open(log, "a") as file:
                    file.write(f"{calls.nth} {calls.failed[0]}\n")
            calls.begin()
        return real_select(*args)

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not is_on() or not set(mode) & set("wax"):
            return real_open(file, mode, *args, **kwargs)
        if not isinstance(file, int) and kwargs.get("opener") is None:
            calls.note("open")
        raw = FailingFile(
            file, mode.replace("b", ""), kwargs.get("closefd", True), kwargs.get("opener")
        )
        raw.calls = calls
        return io.BufferedWriter(raw)

    def os_opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if is_on() and flags & WRITING:
            calls.note("os.open")
        return real_os_open(path, flags, *args, **kwargs)

    def only_there(name: str) -> None:
        real = getattr(os, name)
        failing = calls.failing(f"os.{name}", real)
        setattr(os, name, lambda *args, **given: (failing if is_on() else real)(*args, **given))

    for name in ("write", "fsync", "replace", "mkdir", "ftruncate"):
        only_there(name)
    builtins.open, select.select, os.open = opened, selected, os_opened  # type: ignore[assignment]


def failing_under_attnmon(calls: Calls) -> Any:
    """In a training process: calls to the system that attnmon makes, itself or by a library."""
    return _Patches(calls)


class _Patches:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._before: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        for owner, names in _TRAINERS_CALLS.items():
            for name in names:
                self._patch(importlib.import_module(owner), name)
        for name in ("sendmsg", "recvmsg_into", "setsockopt", "shutdown"):
            self._patch(socket.socket, name)

    def _patch(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)
        self._before.append((owner, name, real))
        setattr(owner, name, _if_ours(real, self._calls.failing(name, real)))

    def __exit__(self, *error: object) -> None:
        for owner, name, real in self._before:
            setattr(owner, name, real)


_TRAINERS_CALLS = {
    "os": (
        "memfd_create", "ftruncate", "posix_fallocate", "dup", "pipe", "read", "close", "waitpid",
    ),
    "mmap": ("mmap",),
    "fcntl": ("fcntl",),
    "socket": ("socketpair",),
    "select": ("poll",),
    "subprocess": ("_fork_exec",),
}  # fmt: skip


def _if_ours(real: Callable[..., Any], failing: Callable[..., Any]) -> Callable[..., Any]:
    """Ours, or a library's for us; what `Popen` does once the process is there is its own."""
    ours = str(Path(attnmon.__file__).parent)

    def is_ours() -> bool:
        frames = accumulate(repeat(sys._getframe(2)), lambda frame, _: frame.f_back)
        files = [frame.f_code.co_filename for frame in takewhile(bool, frames)]
        started = subprocess.__file__ in files and real is not _fork_exec
        return not started and any(file.startswith(ours) for file in files)

    def called(*args: Any, **kwargs: Any) -> Any:
        return (failing if is_ours() else real)(*args, **kwargs)

    return called
