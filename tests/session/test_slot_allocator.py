"""The room in a ring that grows: also when it is interrupted, refused, or filled bit by bit."""

from collections.abc import Iterator
from typing import Any

import pytest

from attnmon.link.messages import Slots
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES, Ring, make_ring
from attnmon.session.slot_allocator import SlotAllocator

PER_MEBIBYTE = MEBIBYTE // SLOT_BYTES


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = make_ring(MEBIBYTE, 16 * MEBIBYTE)
    yield ring
    ring.close_descriptor()
    ring.memory.close()


def test_for_a_capture_it_doubles_or_takes_what_the_layer_needs(ring: Ring) -> None:
    room = SlotAllocator(ring, keep_last=0)
    assert room.grow(1)
    assert room.pool.count == 2 * PER_MEBIBYTE
    assert room.grow(9 * PER_MEBIBYTE)
    assert room.pool.count == 11 * PER_MEBIBYTE
    assert room.grow(9 * PER_MEBIBYTE)
    assert room.pool.count == 16 * PER_MEBIBYTE, "that is all"
    assert not room.grow(1)
    assert "does not fit the ring of 16.0 MiB" in room.too_large(17 * PER_MEBIBYTE)


def test_what_came_before_an_interrupt_counts_the_next_time(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, grow = SlotAllocator(ring, keep_last=0), Ring.grow

    def interrupted(self: Ring, wanted: int) -> None:
        grow(self, wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr(Ring, "grow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        room.grow(16 * PER_MEBIBYTE)
    assert (room.pool.count, ring.slot_count) == (PER_MEBIBYTE, 16 * PER_MEBIBYTE)
    monkeypatch.undo()
    assert room.grow(1)
    assert room.lend(16 * PER_MEBIBYTE) == Slots(0, 16 * PER_MEBIBYTE)


def test_a_window_takes_memory_as_it_fills(ring: Ring) -> None:
    """Of 40 captures of a quarter of a mebibyte, two fit the half of the first mebibyte."""
    room = SlotAllocator(ring, keep_last=40)
    sizes = []
    for sequence in range(40):
        slots = room.lend(PER_MEBIBYTE // 4)
        if slots is None:
            break
        words = room.grow_to_keep([slots])
        if words:
            break
        room.kept.slots_of[sequence] = [slots]
        room.kept.slot_count += slots.count
        sizes.append(ring.reserved // MEBIBYTE)
    assert sizes[:9] == [1, 1, 2, 2, 4, 4, 4, 4, 8]
    assert len(sizes) == 32, "half of all the memory there may be"
    assert "a window of 32 of 40 steps fits" in words


def test_memory_that_is_refused_is_not_asked_for_at_every_step(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SlotAllocator(ring, keep_last=40)
    asked: list[Any] = []
    monkeypatch.setattr(Ring, "grow", lambda self, wanted: asked.append(wanted))
    slots = [Slots(0, PER_MEBIBYTE)]
    assert all("a window of 0 of 40" in room.grow_to_keep(slots) for _ in range(5))
    assert asked == [2 * MEBIBYTE]
