"""Which slots of the ring are free and which retained; grows the ring where they are too few.

Tracks slots and memory; sends nothing to the renderer.
"""

from collections.abc import Iterable

from attnmon.link.records.ring_blocks import Slots
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES, Ring
from attnmon.link.slots import SlotPool
from attnmon.session.retention_window import RetentionWindow


class SlotAllocator:
    """The slots of one ring, and the window of captures retained in some of them."""

    def __init__(self, ring: Ring, keep_last: int) -> None:
        self.window = RetentionWindow(keep_last, ring.slot_count)
        self.pool = SlotPool(ring.slot_count)
        self.notices: list[tuple[str, str]] = []
        """Warnings for the user that were not shown yet: (kind, text)."""
        self._ring = ring
        self._window_may_grow = True

    def allocate(self, count: int) -> Slots | None:
        """Return a run of `count` slots; None when there is none at present."""
        return self.pool.allocate(count)

    def free(self, runs: Iterable[Slots]) -> None:
        for run in runs:
            self.pool.free(run)

    def could_evict(self, count: int) -> bool:
        """Return whether `count` slots would be free if all retained captures were released."""
        return bool(len(self.window)) and self.pool.free_count + self.window.slot_count >= count

    def grow_to_usual(self, count: int) -> bool:
        """Grow the ring for `count` more slots, where it has not its usual size yet.

        Captures that wait are reason enough for that. True if it has grown.
        """
        reserved, usual = self._ring.reserved, self._ring.usual
        if reserved >= usual:
            return False
        wanted = min(usual, reserved + max(reserved, count * SLOT_BYTES))
        return self._grow_to(wanted, "")

    def grow(self, count: int) -> bool:
        """Grow the ring for a capture that needs `count` more slots. True if it has grown."""
        reserved = self._ring.reserved
        return self._grow_to(reserved + max(reserved, count * SLOT_BYTES), "a capture")

    def grow_for_window(self, slots: list[Slots]) -> str:
        """Make room to retain one more capture like this. Returns advice where that fails.

        The ring grows as the window fills, not for all of it at once: that would take seconds.
        """
        capacity = self.window.capacity(slots)
        if capacity == self.window.limit or len(self.window) < capacity:
            return ""
        needed = self.window.ring_slots_for_all(slots) * SLOT_BYTES
        wanted = min(needed, max(2 * self._ring.reserved, needed // self.window.limit))
        if self._window_may_grow and self._grow_to(wanted, "the window of keep_last"):
            return ""
        self._window_may_grow = False  # or it would be asked for again at every step
        return self.window.shortage(slots)

    def explain_too_large(self, count: int) -> str:
        """Return advice for a capture that needs `count` more slots than the ring can have."""
        needed = (
            count + self.pool.count - self.pool.free_count - self.window.slot_count
        ) * SLOT_BYTES
        return (
            f"a capture of {needed / MEBIBYTE:.1f} MiB or more does not fit the ring of "
            f"{self._ring.reserved / MEBIBYTE:.1f} MiB; choose fewer layers or heads, or raise "
            "ring_bytes"
        )

    def _grow_to(self, nbytes: int, why: str) -> bool:
        slots, before = self.pool.count, self._ring.reserved
        self._ring.grow(nbytes)
        self.pool.grow(self._ring.slot_count)  # also by what came before an interrupt, last time
        self.window.resize(self._ring.slot_count)
        if self.pool.count == slots:
            return False
        if self._ring.reserved > self._ring.usual:
            self.notices.append(("ring", _growing(why, before, self._ring.nbytes)))
        return True


def _growing(why: str, before: int, most: int) -> str:
    return (
        f"{why} takes more than the {before / MEBIBYTE:.1f} MiB of shared memory set aside: "
        f"more is taken as it is needed, {most / MEBIBYTE:.0f} MiB at most. Fewer layers or heads "
        "take less; ring_bytes sets another bound."
    )
