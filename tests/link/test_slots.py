"""The free list: no slot is ever owned twice, and none is ever lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from attnmon.link.records.ring_blocks import Slots
from attnmon.link.slots import SlotPool

COUNT = 24


class Allocating(RuleBasedStateMachine):
    """Any order of allocating and freeing, against a plain list of owners."""

    allocated = Bundle("allocated")

    def __init__(self) -> None:
        super().__init__()
        self.pool = SlotPool(COUNT)
        self.owner: list[int | None] = [None] * COUNT
        self.allocations = 0

    @rule(target=allocated, count=st.integers(1, COUNT))
    def allocate(self, count: int) -> Slots | None:
        slots = self.pool.allocate(count)
        if slots is None:
            assert count > self.longest_gap(), "there was room"
            return None
        assert slots.count == count
        for slot in range(slots.first, slots.first + count):
            assert self.owner[slot] is None, "owned twice"
            self.owner[slot] = self.allocations
        self.allocations += 1
        return slots

    @rule(more=st.integers(0, COUNT))
    def grow(self, more: int) -> None:
        self.pool.grow(len(self.owner) + more)
        self.owner += [None] * more

    @rule(slots=consumes(allocated))
    def free(self, slots: Slots | None) -> None:
        if slots is not None:
            self.pool.free(slots)
            self.owner[slots.first : slots.first + slots.count] = [None] * slots.count

    @rule(first=st.integers(0, COUNT), count=st.integers(1, COUNT))
    def free_what_was_not_allocated(self, first: int, count: int) -> None:
        run = self.owner[first : first + count]
        whole = bool(run) and run[0] is not None and set(run) == {run[0]}
        if whole and self.owner.count(run[0]) == count:
            return  # it was allocated as such
        free = self.pool.free_count
        with pytest.raises(ValueError, match="not allocated"):
            self.pool.free(Slots(first, count))
        assert self.pool.free_count == free

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.pool.free_count == self.owner.count(None)

    def longest_gap(self) -> int:
        taken = "".join(" " if owner is None else "x" for owner in self.owner)
        return max(len(gap) for gap in taken.split("x"))


TestAllocating = Allocating.TestCase
TestAllocating.settings = settings(max_examples=200, stateful_step_count=40)


def test_all_can_be_lent_again_as_one_run_after_coming_back_in_any_order() -> None:
    pool = SlotPool(8)
    runs = [pool.allocate(2) for _ in range(4)]
    for index in (2, 0, 3, 1):
        run = runs[index]
        assert run is not None
        pool.free(run)
    assert pool.allocate(8) == Slots(0, 8)


def test_less_than_one_slot_cannot_be_lent() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        SlotPool(4).allocate(0)


def test_no_slot_is_taken_away() -> None:
    pool = SlotPool(COUNT)
    with pytest.raises(ValueError, match=f"count must be {COUNT} or more, got 3"):
        pool.grow(3)
    assert pool.allocate(COUNT) == Slots(0, COUNT)
