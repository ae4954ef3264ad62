"""Finds slots for a capture where none are free: by eviction, by growth, or by waiting."""

from typing import Protocol

from attnmon.link.records.ring_blocks import Slots
from attnmon.serialize.capture_builder import NoRoomToRetain, RingFull, TooLarge
from attnmon.session.slot_allocator import SlotAllocator


class SlotHolders(Protocol):
    """What is known of those who hold the slots: the renderer, and the window of `keep_last`."""

    allocator: SlotAllocator
    waits_for_room: bool
    """Whether training waits for the renderer rather than lose a capture (`on_full="wait"`)."""

    @property
    def pending(self) -> int: ...
    def poll(self) -> bool: ...
    def wait_for_room(self) -> None: ...
    def require_renderer(self) -> None: ...
    def release(self, before: int) -> bool: ...


def reclaim(holders: SlotHolders, count: int, *, retained: bool) -> Slots:
    """Return a run of `count` slots, from whoever can give some up.

    Tried in this order: what the renderer has acknowledged meanwhile; a ring of its usual size; a
    larger ring, where nothing waits for the renderer; the retained captures, oldest first; and, for
    those who asked for it, waiting for the renderer. `retained`: the capture is of a step
    that is not due. It may evict older ones, but never waits.

    Raises `NoRoomToRetain` for a capture to be retained, `TooLarge` for one that does not fit an
    empty ring, `RingFull` where the renderer is behind, `ChannelClosed` where it is gone.
    """
    allocator = holders.allocator
    holders.poll()
    while (slots := allocator.allocate(count)) is None:
        holders.require_renderer()
        if allocator.grow_to_usual(count) or (not holders.pending and allocator.grow(count)):
            continue
        if _evict_oldest(holders, count):
            continue
        if retained:
            raise NoRoomToRetain("every slot is in use")
        if not holders.pending and not allocator.could_evict(count):
            raise TooLarge(allocator.explain_too_large(count))
        if not holders.waits_for_room:
            raise RingFull("there is no room beside what is still with the renderer")
        holders.wait_for_room()
    return slots


def _evict_oldest(holders: SlotHolders, count: int) -> bool:
    """Release the oldest retained capture, if that helps and the renderer can be told."""
    if not holders.allocator.could_evict(count):
        return False
    oldest = next(iter(holders.allocator.window.slots_of))
    return holders.release(oldest + 1)
