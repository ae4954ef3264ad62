"""The window of `keep_last`: which captures are retained, and how many fit.

    ALLOCATED ──named to the renderer──▶ RETAINED ──released, by a message──▶ FREE
                                             └───dumped──▶ the renderer's, until acknowledged

The renderer knows of a retained capture, but does not read its slots before a dump. So no answer
is needed before a slot is used again, only that the release was sent first. If this process dies,
the slots hold what the renderer was last told.
"""

from collections.abc import Iterable
from math import ceil

from attnmon.link.records.ring_blocks import Slots
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES

RETAINED_FRACTION = 1 / 2
"""Fraction of the ring that retained captures may take; the rest is for captures to be drawn."""


class RetentionWindow:
    """The last captures, at most `limit` of them, in at most half of the ring.

    Tracks slots; performs no I/O.
    """

    def __init__(self, limit: int, ring_slots: int) -> None:
        self.limit = limit
        """The most captures that are retained (`keep_last`)."""
        self.resize(ring_slots)
        self.slot_count = 0
        """Slots of all retained captures together."""
        self.slots_of: dict[int, list[Slots]] = {}
        """Sequence number → slots of that capture, oldest first."""

    def __len__(self) -> int:
        return len(self.slots_of)

    def resize(self, ring_slots: int) -> None:
        """Take note that the ring has this many slots now."""
        self.max_slots = int(ring_slots * RETAINED_FRACTION)

    def capacity(self, slots: list[Slots]) -> int:
        """Return how many captures as large as this one can be retained."""
        return min(self.limit, self.max_slots // count_slots(slots))

    def ring_slots_for_all(self, slots: list[Slots]) -> int:
        """Return the slots of a ring in which `limit` captures of this size can be retained."""
        return ceil(self.limit * count_slots(slots) / RETAINED_FRACTION)

    def shortage(self, slots: list[Slots]) -> str:
        """Return advice for the user where fewer than `limit` captures fit; empty if all do."""
        capacity = self.capacity(slots)
        if capacity == self.limit:
            return ""
        needed = self.ring_slots_for_all(slots) * SLOT_BYTES
        return (
            f"keep_last: a window of {capacity} of {self.limit} steps fits the half of the ring "
            f"that it may take; raise ring_bytes to {-(-needed // MEBIBYTE)} MiB, or choose fewer "
            "layers or heads"
        )

    def oldest_beside(self, sequence: int, slots: list[Slots]) -> int:
        """Return the oldest capture that can stay beside this new one; the new one if none can."""
        count = len(self) + 1
        unused = self.max_slots - self.slot_count - count_slots(slots)
        for retained, theirs in self.slots_of.items():
            if count <= self.limit and unused >= 0:
                return retained
            count -= 1
            unused += count_slots(theirs)
        return sequence

    def release(self, before: int) -> list[Slots]:
        """Drop the captures with a lower sequence number, and return their slots."""
        released: list[Slots] = []
        while (oldest := next(iter(self.slots_of), before)) < before:
            released += self.slots_of.pop(oldest)
        self.slot_count -= count_slots(released)
        return released

    def pop_all(self) -> dict[int, list[Slots]]:
        """Empty the window, and return the slots of each capture that was in it."""
        retained, self.slots_of, self.slot_count = self.slots_of, {}, 0
        return retained


def count_slots(runs: Iterable[Slots]) -> int:
    """Return the number of slots in these runs together."""
    return sum(run.count for run in runs)
