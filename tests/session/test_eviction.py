"""In which order slots are reclaimed for a capture, against holders that only keep a log."""

from collections.abc import Iterator

import pytest

from attnmon.link.records.ring_blocks import Slots
from attnmon.link.ring import FIRST_BYTES, SLOT_BYTES, Ring, make_ring
from attnmon.serialize.capture_builder import NoRoomToRetain, RingFull, TooLarge
from attnmon.session.eviction import reclaim
from attnmon.session.slot_allocator import SlotAllocator

SLOTS = 8


class Holders:
    """The renderer's captures and the window's, without a channel."""

    def __init__(self, ring: Ring, *, waits: bool = False) -> None:
        self.allocator = SlotAllocator(ring, keep_last=4)
        self.waits_for_room = waits
        self.announced: list[Slots] = []
        self.acknowledged_at_poll = 0
        self.lost = False
        self.takes_messages = True
        self.log: list[str] = []

    @property
    def pending(self) -> int:
        return len(self.announced)

    def poll(self) -> bool:
        self.log.append("poll")
        for _ in range(self.acknowledged_at_poll):
            self.allocator.free([self.announced.pop(0)])
        return True

    def wait_for_room(self) -> None:
        self.log.append("wait")
        self.allocator.free([self.announced.pop(0)])

    def require_renderer(self) -> None:
        if self.lost:
            raise ConnectionError

    def release(self, before: int) -> bool:
        self.log.append(f"release before {before}")
        if self.takes_messages:
            self.allocator.free(self.allocator.window.release(before))
        return self.takes_messages

    def announce(self, count: int) -> None:
        slots = self.allocator.allocate(count)
        assert slots is not None
        self.announced.append(slots)

    def retain(self, sequence: int, count: int) -> None:
        slots = self.allocator.allocate(count)
        assert slots is not None
        self.allocator.window.slots_of[sequence] = [slots]
        self.allocator.window.slot_count += count


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = make_ring(SLOTS * SLOT_BYTES)
    yield ring
    ring.close_descriptor()
    ring.memory.close()


def test_what_was_acknowledged_meanwhile_is_enough(ring: Ring) -> None:
    holders = Holders(ring)
    holders.retain(0, 2)
    holders.announce(6)
    holders.acknowledged_at_poll = 1
    assert reclaim(holders, 6, retained=False) == Slots(2, 6)
    assert holders.log == ["poll"], "nothing that is retained is evicted"


def test_retained_captures_are_evicted_oldest_first_and_no_more_than_needed(ring: Ring) -> None:
    holders = Holders(ring)
    for sequence in (3, 4, 7, 9):
        holders.retain(sequence, 1)
    holders.announce(4)
    assert reclaim(holders, 2, retained=True) == Slots(0, 2)
    assert holders.log == ["poll", "release before 4", "release before 5"]
    assert list(holders.allocator.window.slots_of) == [7, 9]


def test_nothing_is_evicted_where_that_would_not_be_enough(ring: Ring) -> None:
    holders = Holders(ring)
    holders.retain(0, 2)
    holders.announce(6)
    with pytest.raises(RingFull):
        reclaim(holders, 3, retained=False)
    assert len(holders.allocator.window) == 1


def test_a_release_that_cannot_be_sent_evicts_nothing(ring: Ring) -> None:
    holders = Holders(ring)
    holders.retain(0, 4)
    holders.announce(4)
    holders.takes_messages = False
    with pytest.raises(RingFull):
        reclaim(holders, 2, retained=False)
    assert list(holders.allocator.window.slots_of) == [0]


def test_a_step_that_is_not_due_never_waits(ring: Ring) -> None:
    holders = Holders(ring, waits=True)
    holders.announce(8)
    with pytest.raises(NoRoomToRetain):
        reclaim(holders, 1, retained=True)
    assert holders.log == ["poll"]


def test_those_who_asked_for_it_wait_until_there_is_room(ring: Ring) -> None:
    holders = Holders(ring, waits=True)
    for _ in range(4):
        holders.announce(2)
    assert reclaim(holders, 4, retained=False) == Slots(0, 4)
    assert holders.log == ["poll", "wait", "wait"]


def test_a_ring_that_a_capture_has_to_itself_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = make_ring(SLOTS * SLOT_BYTES, 4 * SLOTS * SLOT_BYTES)
    holders = Holders(ring)
    assert reclaim(holders, 2 * SLOTS, retained=False).count == 2 * SLOTS
    assert ring.slot_count > SLOTS
    assert holders.log == ["poll"]
    ring.close_descriptor()
    ring.memory.close()


def test_it_grows_rather_than_lose_what_is_retained_where_nothing_waits_to_be_drawn() -> None:
    """As the first capture of a large model, before which some steps were retained."""
    ring = make_ring(SLOTS * SLOT_BYTES, 4 * SLOTS * SLOT_BYTES)
    holders = Holders(ring)
    holders.retain(0, 4)
    for _ in range(SLOTS):
        assert reclaim(holders, 1, retained=False).count == 1
    assert holders.log == ["poll"] * SLOTS
    assert list(holders.allocator.window.slots_of) == [0]
    ring.close_descriptor()
    ring.memory.close()


def test_a_ring_below_its_usual_size_grows_before_anything_is_given_up() -> None:
    ring = make_ring(2 * FIRST_BYTES)
    holders, half = Holders(ring), FIRST_BYTES // SLOT_BYTES
    holders.retain(0, 1)
    holders.announce(half - 1)
    assert reclaim(holders, 2, retained=False).count == 2
    assert ring.reserved == ring.usual
    assert holders.log == ["poll"], "the retained capture is still there"
    ring.close_descriptor()
    ring.memory.close()


def test_a_capture_for_which_an_empty_ring_is_too_small(ring: Ring) -> None:
    holders = Holders(ring)
    with pytest.raises(TooLarge, match=r"0\.6 MiB or more does not fit the ring of 0\.5 MiB"):
        reclaim(holders, SLOTS + 1, retained=False)


def test_no_room_is_looked_for_without_a_renderer(ring: Ring) -> None:
    holders = Holders(ring, waits=True)
    holders.announce(8)
    holders.lost = True
    with pytest.raises(ConnectionError):
        reclaim(holders, 1, retained=False)
