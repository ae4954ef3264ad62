"""How much memory is available, and whether addresses without memory cost anything."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
_HIERARCHIES = (
    ("", "memory.max", "memory.current"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Control groups of version 2 and version 1: controller, file of the limit, file of the usage."""


def addresses_are_free() -> bool:
    """Return whether unused addresses cost nothing: without ``ulimit -v`` and without mlockall."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit == resource.RLIM_INFINITY and not _figure("self/status", "VmLck:")


def available_memory() -> int:
    """Return the bytes that the machine, and this process's control groups, can spare."""
    free = _figure("meminfo", "MemAvailable:")
    figures = [*_left_to_groups(), *([] if free is None else [free])]
    return min(figures, default=sys.maxsize)


def room_in(descriptor: int) -> int:
    """Return the bytes that the file system of an open file can spare. Raises OSError.

    That of memory files has no bound of its own.
    """
    found = os.fstatvfs(descriptor)
    return found.f_bavail * found.f_frsize if found.f_blocks else sys.maxsize


def _figure(file: str, name: str) -> int | None:
    """Return a figure in bytes from a file of lines such as ``MemAvailable: 5 kB``."""
    with suppress(OSError, ValueError):
        for line in (_PROC / file).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None


def _left_to_groups() -> Iterator[int]:
    """Yield the bytes left to this process's control group, and to each one around it."""
    for controller, limit, usage in _HIERARCHIES:
        group = _group(controller)
        for folder in (group, *group.parents):
            path = _GROUPS / controller / folder
            with suppress(OSError, ValueError):  # not there, or "max"
                yield int((path / limit).read_text()) - int((path / usage).read_text())


def _group(controller: str) -> Path:
    """Return the path of this process's control group below the controller's hierarchy."""
    with suppress(OSError, ValueError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(path.lstrip("/"))
    return Path()
