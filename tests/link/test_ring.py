"""The ring, in each kind of memory: reserved, nameless, and read-only for all but its maker."""

import errno
import mmap
import os
import subprocess
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

import pytest

from attnmon.link import ring as ring_module
from attnmon.link.memory.shared_memory import open_shared_memory
from attnmon.link.ring import (
    DEFAULT_BYTES,
    FIRST_BYTES,
    MEBIBYTE,
    SLOT_BYTES,
    TIMES_OVER,
    RingError,
    make_ring,
    map_read_only,
)


def printed(code: str) -> str:
    """By a process of its own, which has nothing to complain of."""
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert out.stderr == ""
    return out.stdout


def shared_memory_names() -> set[str]:
    return set(os.listdir("/dev/shm"))


def use_only(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tuple(entry for entry in ring_module._BACKENDS if entry[0] == backend)
    monkeypatch.setattr(ring_module, "_BACKENDS", chosen)


@pytest.fixture(params=["shared memory", "memory file"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What every ring is made of that a test makes in this process."""
    use_only(request.param, monkeypatch)
    return str(request.param)


def test_what_is_written_is_read_through_the_descriptor() -> None:
    ring = make_ring(MEBIBYTE)
    ring.memory[SLOT_BYTES : SLOT_BYTES + 5] = b"hello"
    view = map_read_only(ring.descriptor, ring.nbytes)
    assert bytes(view[SLOT_BYTES : SLOT_BYTES + 5]) == b"hello"
    ring.close_descriptor()


def test_the_renderers_view_cannot_be_written() -> None:
    ring = make_ring(MEBIBYTE)
    view = map_read_only(ring.descriptor, ring.nbytes)
    with pytest.raises(TypeError):
        view[0] = 1
    ring.close_descriptor()


def test_by_what_the_renderer_gets_it_can_be_neither_changed_nor_resized() -> None:
    ring = make_ring(MEBIBYTE)
    given = ring.open_read_only()
    with pytest.raises(PermissionError):
        mmap.mmap(given, ring.nbytes)
    for nbytes in (0, 2 * ring.nbytes):  # a shrunk mapping would be a SIGBUS in training
        with pytest.raises(OSError, match=r"Invalid argument|not permitted"):
            os.ftruncate(given, nbytes)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(given, b"x", 0)
    ring.memory[:2] = b"ok"
    assert bytes(map_read_only(given, ring.nbytes)[:2]) == b"ok"
    os.close(given)
    ring.close_descriptor()


def test_a_memory_file_cannot_be_mapped_writable_or_resized_even_by_its_maker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    use_only("memory file", monkeypatch)
    ring = make_ring(MEBIBYTE)
    with pytest.raises(PermissionError):
        mmap.mmap(ring.descriptor, ring.nbytes)
    for nbytes in (0, 2 * ring.nbytes):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.descriptor, nbytes)
    ring.close_descriptor()


@pytest.mark.serial  # no other test may make a name in shared memory meanwhile
def test_it_has_no_name_and_starts_no_tracker_process(backend: str) -> None:
    before = shared_memory_names()
    code = (
        "import os; from attnmon.link import ring\n"
        f"ring._BACKENDS = tuple(b for b in ring._BACKENDS if b[0] == {backend!r})\n"
        "made = ring.make_ring(1 << 20)\n"
        "children = open(f'/proc/self/task/{os.getpid()}/children').read().split()\n"
        "print(made.backend, len(os.listdir('/proc/self/task')), len(children))"
    )
    assert printed(code) == f"{backend} 1 0\n"
    assert shared_memory_names() == before


@pytest.mark.serial
def test_a_file_gives_a_ring_and_leaves_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    use_only("file", monkeypatch)
    before = shared_memory_names()
    ring = make_ring(16 * MEBIBYTE, 64 * MEBIBYTE)
    assert (ring.backend, ring.nbytes, ring.reserved) == ("file", 16 * MEBIBYTE, 16 * MEBIBYTE)
    ring.memory[-1:] = b"x"
    assert shared_memory_names() == before
    ring.close_descriptor()


@pytest.mark.parametrize(
    ("room", "chosen"),
    [
        (TIMES_OVER * MEBIBYTE, "shared memory"),
        (TIMES_OVER * MEBIBYTE - 1, "memory file"),  # 64 MB of a container are for its workers
    ],
)
def test_shared_memory_is_taken_where_it_has_room_many_times_over(
    room: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(ring_module, "room_in", lambda descriptor: room)
    ring = make_ring(MEBIBYTE)
    assert ring.backend == chosen
    ring.close_descriptor()


@pytest.mark.parametrize("lacking", ["shm_open", "memfd_create"])
def test_where_one_kind_is_missing_the_other_serves(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> int:
        raise OSError(errno.ENOSYS, "not on this system")

    monkeypatch.undo()
    if lacking == "memfd_create":
        monkeypatch.setattr(os, "memfd_create", refuse)
    else:
        monkeypatch.setattr(ring_module, "open_shared_memory", refuse)
    monkeypatch.setattr(ring_module, "room_in", lambda descriptor: 2 * TIMES_OVER * MEBIBYTE)
    ring = make_ring(MEBIBYTE, 64 * MEBIBYTE)
    assert ring.backend == ("shared memory" if lacking == "memfd_create" else "memory file")
    ring.close_descriptor()


def test_other_threads_tell_the_tracker_of_their_shared_memory_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []
    monkeypatch.setattr(resource_tracker, "register", lambda name, kind: told.append(name))
    monkeypatch.setattr(resource_tracker, "unregister", lambda name, kind: told.remove(name))
    os.close(open_shared_memory())
    assert told == []
    theirs = SharedMemory(create=True, size=1)
    assert len(told) == 1
    theirs.close()
    theirs.unlink()
    assert told == []


def test_it_begins_small_and_has_its_usual_size_when_it_is_wanted() -> None:
    ring = make_ring()
    assert (ring.reserved, ring.usual) == (FIRST_BYTES, DEFAULT_BYTES)
    ring.grow(2 * FIRST_BYTES)
    assert ring.reserved == 2 * FIRST_BYTES
    ring.close_descriptor()


def test_it_takes_no_more_than_its_share_of_the_room_that_others_live_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ring_module, "room_in", lambda descriptor: 31 * MEBIBYTE)
    ring = make_ring(MEBIBYTE, 64 * MEBIBYTE)
    ring.grow(64 * MEBIBYTE)
    assert ring.reserved == 4 * MEBIBYTE
    ring.close_descriptor()


def test_a_smaller_ring_when_there_is_not_enough_room(monkeypatch: pytest.MonkeyPatch) -> None:
    room = 3 * MEBIBYTE

    def reserve(descriptor: int, begin: int, end: int) -> bool:
        if end > room:
            raise OSError(errno.ENOSPC, "no space")
        return True

    monkeypatch.setattr(ring_module, "_reserve", reserve)
    ring = make_ring(16 * MEBIBYTE)
    assert ring.nbytes == 2 * MEBIBYTE
    ring.close_descriptor()


def test_no_room_at_all_is_an_error_that_says_what_was_tried(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, begin: int, end: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(ring_module, "_reserve", refuse)
    with pytest.raises(RingError, match=rf"{backend} of 1024 KiB: .*no space left"):
        make_ring(4 * MEBIBYTE)
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_never_takes_more_than_its_share_of_free_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ring_module, "available_memory", lambda: 16 * MEBIBYTE)
    ring = make_ring(64 * MEBIBYTE)
    assert ring.nbytes == 2 * MEBIBYTE
    ring.close_descriptor()


def test_every_page_is_reserved() -> None:
    ring = make_ring(4 * MEBIBYTE)
    blocks = os.fstat(ring.descriptor).st_blocks
    assert blocks * 512 >= ring.nbytes
    ring.close_descriptor()


def test_where_memory_cannot_be_reserved_otherwise_every_page_is_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ring_module, "_reserve", lambda descriptor, begin, end: False)
    ring = make_ring(4 * MEBIBYTE)
    assert os.fstat(ring.descriptor).st_blocks * 512 == ring.nbytes
    ring.close_descriptor()


def test_it_grows_in_its_place_and_both_sides_see_it() -> None:
    ring = make_ring(MEBIBYTE, 8 * MEBIBYTE)
    assert (ring.reserved, ring.nbytes) == (MEBIBYTE, 8 * MEBIBYTE)
    view, before = map_read_only(ring.descriptor, ring.nbytes), memoryview(ring.memory)
    ring.memory[:4] = b"kept"
    assert os.fstat(ring.descriptor).st_blocks * 512 == MEBIBYTE, "the rest is addresses only"
    ring.grow(3 * MEBIBYTE)
    assert os.fstat(ring.descriptor).st_blocks * 512 == 3 * MEBIBYTE
    assert ring.slot_count == 3 * MEBIBYTE // SLOT_BYTES
    ring.memory[2 * MEBIBYTE : 2 * MEBIBYTE + 3] = b"new"
    for side in (view, before):
        assert bytes(side[:4]) == b"kept"
        assert bytes(side[2 * MEBIBYTE : 2 * MEBIBYTE + 3]) == b"new"
    ring.close_descriptor()


def test_it_grows_no_further_than_was_said() -> None:
    ring = make_ring(MEBIBYTE, 2 * MEBIBYTE)
    ring.grow(64 * MEBIBYTE)
    assert ring.reserved == 2 * MEBIBYTE
    ring.close_descriptor()
    fixed = make_ring(MEBIBYTE)
    fixed.grow(2 * MEBIBYTE)
    assert fixed.reserved == MEBIBYTE
    fixed.close_descriptor()


def test_what_others_took_in_the_meantime_it_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked to grow: an eighth is an eighth."""
    ring = make_ring(MEBIBYTE, 64 * MEBIBYTE)
    left = 23 * MEBIBYTE + ring.reserved
    monkeypatch.setattr(ring_module, "available_memory", lambda: left - ring.reserved)
    for _ in range(5):
        ring.grow(64 * MEBIBYTE)
        assert ring.reserved == 3 * MEBIBYTE
    ring.close_descriptor()


def test_memory_that_is_refused_leaves_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = make_ring(MEBIBYTE, 8 * MEBIBYTE)

    def refuse(descriptor: int, offset: int, nbytes: int) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    ring.grow(2 * MEBIBYTE)
    assert ring.reserved == MEBIBYTE
    ring.memory[:1] = b"x"
    ring.close_descriptor()


@pytest.mark.parametrize(
    "rationed",
    [
        "resource.setrlimit(resource.RLIMIT_AS, (4096 * MEBIBYTE, 4096 * MEBIBYTE))",
        "ctypes.CDLL(None).mlockall(1)",  # MCL_CURRENT
    ],
)
def test_where_addresses_are_rationed_it_takes_no_more_than_it_uses(rationed: str) -> None:
    code = (
        "import ctypes, os, resource; from attnmon.link.ring import *\n"
        f"{rationed}\n"
        "ring = make_ring(4 * MEBIBYTE, 512 * MEBIBYTE); ring.grow(8 * MEBIBYTE)\n"
        "ring.memory[-1:] = b'x'; print(ring.nbytes == ring.reserved == 4 * MEBIBYTE)"
    )
    assert printed(code) == "True\n"


def test_a_renderer_whose_addresses_are_rationed_maps_what_is_reserved() -> None:
    code = (
        "import resource; from attnmon.link.ring import *\n"
        "ring = make_ring(4 * MEBIBYTE, 512 * MEBIBYTE); ring.memory[:1] = b'x'\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4096 * MEBIBYTE, 4096 * MEBIBYTE))\n"
        "view = map_read_only(ring.descriptor, ring.nbytes)\n"
        "print(bytes(view[:1]), len(view) == 4 * MEBIBYTE)"
    )
    assert printed(code) == "b'x' True\n"


def test_a_timer_whose_signals_never_end_does_not_keep_it_from_growing() -> None:
    code = (
        "import signal; from attnmon.link.ring import *\n"
        "ring = make_ring(MEBIBYTE, 256 * MEBIBYTE); signal.signal(signal.SIGALRM, lambda *_: 0)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002); ring.grow(256 * MEBIBYTE)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0); print(ring.reserved == 256 * MEBIBYTE)"
    )
    assert printed(code) == "True\n"


@pytest.mark.parametrize("nbytes", [65537, 100_000, 500_000, 1_000_000])
def test_sizes_that_are_no_whole_slots_are_rounded_down(nbytes: int) -> None:
    ring = make_ring(nbytes)
    assert ring.nbytes == nbytes // SLOT_BYTES * SLOT_BYTES
    ring.close_descriptor()
