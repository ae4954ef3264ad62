"""The room in a ring that grows: also when it is interrupted, refused, or filled bit by bit."""

from collections.abc import Iterator
from typing import Any

import pytest

from attnmon.link.records.ring_blocks import Slots
from attnmon.link.ring import FIRST_BYTES, MEBIBYTE, SLOT_BYTES, Ring, make_ring
from attnmon.session.slot_allocator import SlotAllocator

PER_MEBIBYTE = MEBIBYTE // SLOT_BYTES


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = make_ring(MEBIBYTE, 16 * MEBIBYTE)
    yield ring
    ring.close_descriptor()
    ring.memory.close()


def test_for_a_capture_it_doubles_or_takes_what_the_layer_needs(ring: Ring) -> None:
    allocator = SlotAllocator(ring, keep_last=0)
    assert allocator.grow(1)
    assert allocator.pool.count == 2 * PER_MEBIBYTE
    assert allocator.grow(9 * PER_MEBIBYTE)
    assert allocator.pool.count == 11 * PER_MEBIBYTE
    assert allocator.grow(9 * PER_MEBIBYTE)
    assert allocator.pool.count == 16 * PER_MEBIBYTE, "that is all"
    assert not allocator.grow(1)
    assert "does not fit the ring of 16.0 MiB" in allocator.explain_too_large(17 * PER_MEBIBYTE)


def test_for_captures_that_wait_it_grows_to_its_usual_size_without_a_word() -> None:
    ring = make_ring(4 * FIRST_BYTES, 32 * FIRST_BYTES)
    allocator = SlotAllocator(ring, keep_last=0)
    first = FIRST_BYTES // SLOT_BYTES
    assert allocator.pool.count == first
    assert allocator.grow_to_usual(1)
    assert allocator.pool.count == 2 * first
    assert allocator.grow_to_usual(2 * first)
    assert allocator.pool.count == 4 * first
    assert not allocator.grow_to_usual(1)
    assert allocator.notices == []
    assert allocator.grow(1)
    assert [kind for kind, _ in allocator.notices] == ["ring"]
    ring.close_descriptor()
    ring.memory.close()


def test_what_came_before_an_interrupt_counts_the_next_time(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocator, grow = SlotAllocator(ring, keep_last=0), Ring.grow

    def interrupted(self: Ring, wanted: int) -> None:
        grow(self, wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr(Ring, "grow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        allocator.grow(16 * PER_MEBIBYTE)
    assert (allocator.pool.count, ring.slot_count) == (PER_MEBIBYTE, 16 * PER_MEBIBYTE)
    monkeypatch.undo()
    assert allocator.grow(1)
    assert allocator.allocate(16 * PER_MEBIBYTE) == Slots(0, 16 * PER_MEBIBYTE)


def test_a_window_takes_memory_as_it_fills(ring: Ring) -> None:
    """Of 40 captures of a quarter of a mebibyte, two fit the half of the first mebibyte."""
    allocator = SlotAllocator(ring, keep_last=40)
    sizes = []
    for sequence in range(40):
        slots = allocator.allocate(PER_MEBIBYTE // 4)
        if slots is None:
            break
        words = allocator.grow_for_window([slots])
        if words:
            break
        allocator.window.slots_of[sequence] = [slots]
        allocator.window.slot_count += slots.count
        sizes.append(ring.reserved // MEBIBYTE)
    assert sizes[:9] == [1, 1, 2, 2, 4, 4, 4, 4, 8]
    assert len(sizes) == 32, "half of all the memory there may be"
    assert "a window of 32 of 40 steps fits" in words


def test_memory_that_is_refused_is_not_asked_for_at_every_step(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocator = SlotAllocator(ring, keep_last=40)
    asked: list[Any] = []
    monkeypatch.setattr(Ring, "grow", lambda self, wanted: asked.append(wanted))
    slots = [Slots(0, PER_MEBIBYTE)]
    assert all("a window of 0 of 40" in allocator.grow_for_window(slots) for _ in range(5))
    assert asked == [2 * MEBIBYTE]
