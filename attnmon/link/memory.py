"""How much memory there is to spare, and whether addresses without any cost nothing."""

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
"""Control groups of version 2 and of version 1: controller, and files of limit and usage."""


def addresses_are_free() -> bool:
    """Whether to map more than is needed costs nothing: neither ``ulimit -v`` nor mlockall."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit == resource.RLIM_INFINITY and not _figure("self/status", "VmLck:")


def available_memory() -> int:
    """Bytes the machine, or a control group that this process is in, has to spare."""
    free = _figure("meminfo", "MemAvailable:")
    figures = [*_left_to_groups(), *([] if free is None else [free])]
    return min(figures, default=sys.maxsize)


def _figure(file: str, name: str) -> int | None:
    """Bytes, from a file of lines such as ``MemAvailable: 5 kB``."""
    with suppress(OSError, ValueError):
        for line in (_PROC / file).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None


def _left_to_groups() -> Iterator[int]:
    """What is left to this process's control group, and to each one around it."""
    for controller, limit, usage in _HIERARCHIES:
        group = _group(controller)
        for folder in (group, *group.parents):
            place = _GROUPS / controller / folder
            with suppress(OSError, ValueError):  # not there, or "max"
                yield int((place / limit).read_text()) - int((place / usage).read_text())


def _group(controller: str) -> Path:
    """The control group of this process, below the hierarchy of this controller."""
    with suppress(OSError, ValueError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(path.lstrip("/"))
    return Path()
