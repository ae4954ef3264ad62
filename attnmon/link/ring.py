"""The memory both processes see: one nameless mapping, cut into equal slots.

    ┌────────┬────────┬────────┬─────┬────────┐
    │ slot 0 │ slot 1 │ slot 2 │  …  │ slot n │     arrays only: no flags, counters or locks
    └────────┴────────┴────────┴─────┴────────┘

The training process makes it, writes it and keeps the list of free slots (`slots`); the renderer
gets the file descriptor and maps it read-only. There is no name, so nothing can be left behind,
attached to by mistake, or destroyed by another process's resource tracker.

Every page is reserved when the ring is made. Shared memory is handed out on credit, and a
process that touches a page the system cannot pay for dies of SIGBUS, in the middle of training.
"""

import fcntl
import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from attnmon.link import descriptors

MEBIBYTE = 1 << 20
SLOT_BYTES = 64 * 1024
DEFAULT_BYTES = 64 * MEBIBYTE
SMALLEST_BYTES = MEBIBYTE
SHARE_OF_AVAILABLE = 8
"""The ring takes at most one part in this many of the memory that is free."""

_SEAL_FUTURE_WRITE = 0x0010  # not in the fcntl module before Python 3.13
_SEALS = (_SEAL_FUTURE_WRITE, 0x0004 | 0x0002 | 0x0001)  # then: grow, shrink, seal


class RingError(OSError):
    """No memory for a ring could be had; says what was tried."""


class Ring:
    """The training process's side: writable memory and the descriptor to hand over.

    `memory` is mapped for as long as anything refers to it. It is never unmapped by hand: an
    array that outlived the mapping would be a segmentation fault in the user's training.
    """

    def __init__(self, descriptor: int, nbytes: int, backend: str) -> None:
        self.descriptor = descriptor
        self.nbytes = nbytes
        self.backend = backend
        populate = getattr(mmap, "MAP_POPULATE", 0)  # page faults now, not in a training step
        self.memory = mmap.mmap(descriptor, nbytes, flags=mmap.MAP_SHARED | populate)

    @property
    def slot_count(self) -> int:
        return self.nbytes // SLOT_BYTES

    def close_descriptor(self) -> None:
        """Give up the descriptor once it is handed over; the memory stays."""
        if self.descriptor >= 0:
            descriptors.close(self.descriptor)
            self.descriptor = -1


def make_ring(wanted: int = DEFAULT_BYTES) -> Ring:
    """The largest ring up to `wanted` bytes that this machine can spare.

    Tries an anonymous memory file, then POSIX shared memory, then an unlinked ordinary file; each
    first whole, then halved down to one mebibyte. Raises `RingError` when none can be had.
    """
    limit = min(wanted, _available_memory() // SHARE_OF_AVAILABLE)
    size = max(limit // SLOT_BYTES, 1) * SLOT_BYTES
    reasons = []
    while size >= min(SMALLEST_BYTES, wanted):
        for backend, open_descriptor in _BACKENDS:
            try:
                return _make(backend, open_descriptor, size)
            except OSError as error:
                reasons.append(f"{backend} of {size >> 10} KiB: {error}")
        size = size // 2 // SLOT_BYTES * SLOT_BYTES
    raise RingError("no shared memory to be had: " + "; ".join(reasons[-3:] or [f"{limit} bytes"]))


def map_read_only(descriptor: int, nbytes: int) -> memoryview:
    """The renderer's side: the ring's bytes, which it cannot write."""
    return memoryview(mmap.mmap(descriptor, nbytes, prot=mmap.PROT_READ))


def _make(backend: str, open_descriptor: Callable[[int], int], nbytes: int) -> Ring:
    descriptor = open_descriptor(nbytes)
    try:
        _reserve(descriptor, nbytes)
        ring = Ring(descriptor, nbytes, backend)
        _seal(descriptor)
    except OSError:
        descriptors.close(descriptor)
        raise
    return ring


def _open_memory_file(nbytes: int) -> int:
    # First choice: it has no name from the start, starts no resource tracker process, takes
    # nothing from the /dev/shm that DataLoader workers live on, and can be sealed.
    if not hasattr(os, "memfd_create"):
        raise OSError("this system has no memfd_create")
    return os.memfd_create("attnmon", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _open_shared_memory(nbytes: int) -> int:
    if sys.version_info >= (3, 13):
        segment = SharedMemory(create=True, size=nbytes, track=False)
    else:
        segment = SharedMemory(create=True, size=nbytes)
    try:
        return os.dup(segment._fd)  # type: ignore[attr-defined]  # there is no public way
    finally:
        segment.unlink()
        segment.close()


def _open_file(nbytes: int) -> int:
    with tempfile.TemporaryFile(prefix="attnmon-") as file:
        return os.dup(file.fileno())


_BACKENDS = (
    ("memory file", _open_memory_file),
    ("shared memory", _open_shared_memory),
    ("file", _open_file),
)


def _reserve(descriptor: int, nbytes: int) -> None:
    os.ftruncate(descriptor, nbytes)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, nbytes)


def _seal(descriptor: int) -> None:
    """Forbid everybody, by the kernel, to resize the ring or to map it writable from now on."""
    for seals in _SEALS:
        try:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)  # type: ignore[attr-defined, unused-ignore]
        except (OSError, AttributeError):
            pass  # not a memory file, or an older kernel: the other precautions stand


def _available_memory() -> int:
    """Bytes the machine, or this process's control group, has to spare."""
    figures = [_machine_memory(), _control_group_memory()]
    return min((figure for figure in figures if figure is not None), default=sys.maxsize)


def _machine_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _control_group_memory() -> int | None:
    group = Path("/sys/fs/cgroup")
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return int((group / limit).read_text()) - int((group / usage).read_text())
        except (OSError, ValueError):
            continue
    return None
