"""The ring: memory that both processes map, without a name, cut into equal slots.

    ┌────────┬────────┬────────┬─────┬────────┐
    │ slot 0 │ slot 1 │ slot 2 │  …  │ slot n │     arrays only: no flags, counters or locks
    └────────┴────────┴────────┴─────┴────────┘

The training process creates it, writes it and keeps the list of free slots (`slots`); the renderer
gets a file descriptor that can only be read. The name is gone before anything else is done, so
nothing can be left behind, attached to by mistake, or destroyed by a process's resource tracker.

Memory is reserved before slots of it are allocated. Otherwise the system promises more pages than
it has, and a process that touches one too many dies of SIGBUS, in the middle of training. Addresses
cost nothing unless they are limited: both sides map as many as the ring may ever need, and it
begins small and grows in place.
"""

import fcntl
import mmap
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress

from attnmon.link import descriptors
from attnmon.link.memory.available import addresses_are_free, available_memory, room_in
from attnmon.link.memory.shared_memory import open_shared_memory

MEBIBYTE = 1 << 20
SLOT_BYTES = 64 * 1024
FIRST_BYTES = 8 * MEBIBYTE
"""The size with which a ring begins where it can grow: what is reserved takes time."""
DEFAULT_BYTES = 64 * MEBIBYTE
"""The size to which it grows for captures that wait."""
MOST_BYTES = 1024 * MEBIBYTE
"""The size to which it grows for one large capture."""
SMALLEST_BYTES = MEBIBYTE
TIMES_OVER = 16
"""A ring lies in /dev/shm if that has room for it so many times: it is DataLoader workers' as well,
and a full one kills them."""
SHARE_OF_AVAILABLE = 8
"""The ring takes at most one part in this many of the available memory, its own included."""
_BLOCK = 512  # bytes that st_blocks counts, whatever the file system
_READY = MEBIBYTE
"""The first pages are touched before training, since the lowest slots are used most. The others are
when they are first used, at a microsecond each: all would take half of the construction."""
_AT_ONCE = 4 * MEBIBYTE
"""Bytes reserved by one call. Some kernels start a call again at every signal, so that a long one
would never end while a profiler's timer runs."""

_SEAL_FUTURE_WRITE = 0x0010  # not in the fcntl module before Python 3.13
_SEALS = (_SEAL_FUTURE_WRITE, 0x0004 | 0x0002 | 0x0001)  # then: grow, shrink, seal


class RingError(OSError):
    """No memory for a ring is available; says what was tried."""


class Ring:
    """The training process's side: writable memory and the descriptor to hand over.

    `memory` is mapped for as long as anything refers to it. It is never unmapped by hand: an
    array that outlived the mapping would be a segmentation fault in the user's training.
    """

    def __init__(self, descriptor: int, nbytes: int, usual: int, backend: str) -> None:
        self.descriptor = descriptor
        self.nbytes = nbytes
        """Size of the mapping. Only the first `reserved` bytes may be used."""
        self.usual = usual
        """Bytes that it may take without a word."""
        self.reserved = 0
        """Bytes that have memory."""
        self.backend = backend
        self.memory = mmap.mmap(descriptor, nbytes, flags=mmap.MAP_SHARED)
        self._own = descriptors.OwnDescriptor(descriptor)

    @property
    def slot_count(self) -> int:
        return self.reserved // SLOT_BYTES

    def reserve(self, nbytes: int) -> None:
        """Get memory for the first `nbytes`. Raises OSError, and keeps what it got until then."""
        while self.reserved < nbytes:
            begin, end = self.reserved, min(self.reserved + _AT_ONCE, nbytes)
            is_sure = _reserve(self.descriptor, begin, end)
            touched = min(end, max(begin, _READY)) if is_sure else end
            pages = len(range(begin, touched, mmap.PAGESIZE))
            self.memory[begin : touched : mmap.PAGESIZE] = bytes(pages)
            self.reserved = end

    def grow(self, wanted: int) -> None:
        """Reserve `wanted` bytes in all, or as many of them as the ring may have."""
        with suppress(OSError):
            if not self._own.is_ours():
                return
            available = min(available_memory(), room_in(self.descriptor))
            share = (self.reserved + available) // SHARE_OF_AVAILABLE
            self.reserve(_whole_slots(min(wanted, self.nbytes, share)))

    def open_read_only(self) -> int:
        """Return another descriptor, by which the ring can be mapped but not changed.

        One by which it can, where the system opens no file a second time. Raises OSError.
        """
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        return os.dup(self.descriptor)

    def close_descriptor(self) -> None:
        """Close the descriptor. The memory stays; the ring cannot grow any more.

        If others have closed it, they have closed the copy that Python's mapping holds as well. To
        unmap it would close whatever has that number now: so it stays.
        """
        if not self._own.close():
            _never_unmapped.append(self.memory)
        self.descriptor = -1


_never_unmapped: list[mmap.mmap] = []


def make_ring(wanted: int = DEFAULT_BYTES, most: int = 0) -> Ring:
    """Return the largest ring up to `wanted` bytes that this machine can spare.

    Tries POSIX shared memory where it has room many times over, then an anonymous memory file,
    then shared memory as it is, then an unlinked ordinary file; first with the whole size, then
    halved down to one mebibyte. Raises `RingError` when all fail.

    Args:
        wanted: bytes that it may have in any case; it begins with fewer where it can grow.
        most: bytes to which it may grow for one large capture. A file does not grow.
    """
    spare = available_memory() // SHARE_OF_AVAILABLE
    size = max(_whole_slots(min(wanted, spare)), SLOT_BYTES)
    most = _whole_slots(min(most, spare)) if addresses_are_free() else 0
    reasons = []
    while size >= min(SMALLEST_BYTES, _whole_slots(wanted)):
        for backend, open_descriptor in _BACKENDS:
            try:
                return _make(backend, open_descriptor, size, most)
            except OSError as error:
                reasons.append(f"{backend} of {size >> 10} KiB: {error}")
        size = _whole_slots(size // 2)
    raise RingError("no shared memory to be had: " + "; ".join(reasons[-3:] or [f"{spare} bytes"]))


def map_read_only(descriptor: int, nbytes: int) -> memoryview:
    """Map the ring in the renderer, which cannot write it.

    Where addresses are limited, only the bytes reserved so far are mapped: captures in those that
    the ring gets later cannot be drawn.
    """
    if not addresses_are_free():
        nbytes = min(nbytes, os.fstat(descriptor).st_blocks * _BLOCK or nbytes)
    return memoryview(mmap.mmap(descriptor, nbytes, prot=mmap.PROT_READ))


def _make(backend: str, open_descriptor: Callable[[int], int], nbytes: int, most: int) -> Ring:
    grows = backend != _FILE and addresses_are_free()
    space = max(nbytes, most) if grows else nbytes
    descriptor = open_descriptor(nbytes)
    try:
        os.ftruncate(descriptor, space)
        ring = Ring(descriptor, space, nbytes, backend)
        ring.reserve(min(FIRST_BYTES, nbytes) if grows else nbytes)
        _seal(descriptor)
    except OSError:
        descriptors.close(descriptor)
        raise
    return ring


def _open_memory_file(nbytes: int) -> int:
    if not hasattr(os, "memfd_create"):
        raise OSError("this system has no memfd_create")
    return os.memfd_create("attnmon", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _open_roomy_shared_memory(nbytes: int) -> int:
    descriptor = open_shared_memory()
    try:
        if (room := room_in(descriptor)) >= TIMES_OVER * nbytes:
            return descriptor
    except OSError:
        descriptors.close(descriptor)
        raise
    descriptors.close(descriptor)
    raise OSError(f"{room >> 20} MiB of room are less than {TIMES_OVER} times as much")


def _open_shared_memory(nbytes: int) -> int:
    return open_shared_memory()


def _open_file(nbytes: int) -> int:
    with tempfile.TemporaryFile(prefix="attnmon-") as file:
        return os.dup(file.fileno())


_SHARED, _MEMORY_FILE, _FILE = "shared memory", "memory file", "file"
_BACKENDS = (
    (_SHARED, _open_roomy_shared_memory),
    (_MEMORY_FILE, _open_memory_file),
    (_SHARED, _open_shared_memory),
    (_FILE, _open_file),
)


def _reserve(descriptor: int, begin: int, end: int) -> bool:
    """Reserve memory. False where the system can do so only by touching it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, begin, end - begin)
        return True
    return False


def _whole_slots(nbytes: int) -> int:
    return nbytes // SLOT_BYTES * SLOT_BYTES


def _seal(descriptor: int) -> None:
    """Have the kernel forbid everybody to resize the ring, or to map it writable from now on."""
    for seals in _SEALS:
        try:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)  # type: ignore[attr-defined, unused-ignore]
        except (OSError, AttributeError):
            pass  # not a memory file, or an older kernel: the other precautions stand
