"""Makes chosen system calls fail, in Python: in a training process or in a renderer.

The product has no hooks for this. A renderer gets it by `renderer_boot.run_before_serving`.
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
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_fork_exec = subprocess._fork_exec  # type: ignore[attr-defined]


class SyscallFaults:
    """Counts the calls of a task and fails the n-th; n grows by one with each task that failed.

    With `keep_failing`, every later call of the same task fails, too.
    """

    def __init__(self, keep_failing: bool, errors: tuple[int, ...], nth: int = 1) -> None:
        self.nth = nth
        self.failed: list[str] = []
        """Names of the calls that failed in the current task."""
        self._call = 0
        self._keep_failing = keep_failing
        self._errors = cycle(errors)

    def begin_task(self) -> None:
        """Restarts the count; goes on to the next call if the last task had a failure."""
        self.nth += bool(self.failed)
        self._call = 0
        self.failed = []

    def count(self, name: str) -> None:
        """Counts one call. Raises OSError if it is one that has to fail."""
        self._call += 1
        if self._call == self.nth or (self._keep_failing and self._call > self.nth):
            self.failed.append(name)
            number = next(self._errors)
            raise OSError(number, os.strerror(number))

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if name == "close":  # the kernel frees the descriptor even if it reports an error
                call(*args, **kwargs)
                return self.count(name)
            self.count(name)
            return call(*args, **kwargs)

        return called


class FailingFile(io.FileIO):
    """A file whose writes are counted as calls."""

    faults: SyscallFaults

    def write(self, content: Any) -> int:
        self.faults.count("write")
        return super().write(content)


def fail_writes_of(role: str, keep_failing: bool, log: str) -> None:
    """Fails writing calls in a renderer's child of this role, "worker" or "recorder".

    Each task of a child begins with a `select.select`. Appends a line to `log` for each task that
    failed: the number and name of its first failed call.
    """
    faults = SyscallFaults(keep_failing, DISK_ERRORS)
    real_open, real_select, real_os_open = builtins.open, select.select, os.open

    def in_role() -> bool:
        return f"attnmon_renderer.{role}" in sys.modules

    def selected(*args: Any) -> Any:
        if in_role():
            if faults.failed:
                with real_open(log, "a") as file:
                    file.write(f"{faults.nth} {faults.failed[0]}\n")
            faults.begin_task()
        return real_select(*args)

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not in_role() or not set(mode) & set("wax"):
            return real_open(file, mode, *args, **kwargs)
        if not isinstance(file, int) and kwargs.get("opener") is None:
            faults.count("open")
        raw = FailingFile(
            file, mode.replace("b", ""), kwargs.get("closefd", True), kwargs.get("opener")
        )
        raw.faults = faults
        return io.BufferedWriter(raw)

    def os_opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if in_role() and flags & WRITE_FLAGS:
            faults.count("os.open")
        return real_os_open(path, flags, *args, **kwargs)

    def patch_os(name: str) -> None:
        real = getattr(os, name)
        failing = faults.wrap(f"os.{name}", real)
        setattr(os, name, lambda *args, **given: (failing if in_role() else real)(*args, **given))

    for name in ("write", "fsync", "replace", "mkdir", "ftruncate"):
        patch_os(name)
    builtins.open, select.select, os.open = opened, selected, os_opened  # type: ignore[assignment]


class FailSyscallsOfAttnmon:
    """In a training process: fails the system calls that attnmon makes, itself or by a library."""

    def __init__(self, faults: SyscallFaults) -> None:
        self._faults = faults
        self._originals: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        for owner, names in _TRAINER_CALLS.items():
            for name in names:
                self._patch(importlib.import_module(owner), name)
        for name in ("sendmsg", "recvmsg_into", "setsockopt", "shutdown"):
            self._patch(socket.socket, name)

    def _patch(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)
        self._originals.append((owner, name, real))
        setattr(owner, name, _only_for_attnmon(real, self._faults.wrap(name, real)))

    def __exit__(self, *error: object) -> None:
        for owner, name, real in self._originals:
            setattr(owner, name, real)


_TRAINER_CALLS = {
    "os": (
        "memfd_create", "ftruncate", "posix_fallocate", "dup", "pipe", "read", "close", "waitpid",
        "fstatvfs",
    ),
    "_posixshmem": ("shm_open",),
    "mmap": ("mmap",),
    "fcntl": ("fcntl",),
    "socket": ("socketpair",),
    "select": ("poll",),
    "subprocess": ("_fork_exec",),
}  # fmt: skip


def _only_for_attnmon(real: Callable[..., Any], failing: Callable[..., Any]) -> Callable[..., Any]:
    """Uses `failing` for callers with attnmon on their stack.

    Of what `Popen` calls only `_fork_exec` may fail: the rest runs when the process is there.
    """
    package = str(Path(attnmon.__file__).parent)

    def is_attnmon_calling() -> bool:
        frames = accumulate(repeat(sys._getframe(2)), lambda frame, _: frame.f_back)
        files = [frame.f_code.co_filename for frame in takewhile(bool, frames)]
        started = subprocess.__file__ in files and real is not _fork_exec
        return not started and any(file.startswith(package) for file in files)

    def called(*args: Any, **kwargs: Any) -> Any:
        return (failing if is_attnmon_calling() else real)(*args, **kwargs)

    return called
