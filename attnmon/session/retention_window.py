"""Captures that the renderer knows of while their slots stay ours: which, and how many may be.

    LENT ──announced as kept──▶ KEPT ──let go, by a message──▶ FREE
                                  └───wanted after all───────▶ the renderer's, until acknowledged

The renderer does not read them unless they are wanted. So no answer is needed before a slot is
used again: only that it was told before. If this process dies, what the renderer was told last
is what the slots hold.
"""

from collections.abc import Iterable

from attnmon.link.messages import Slots
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES

SHARE = 2
"""One part in so many of the ring: the rest is for what is drawn."""


class RetentionWindow:
    """The last captures, `most` of them at most, in half of the ring at most."""

    def __init__(self, most: int, ring_slots: int) -> None:
        self.most = most
        self.resize(ring_slots)
        self.slot_count = 0
        """Of all of them."""
        self.slots_of: dict[int, list[Slots]] = {}
        """By sequence number, oldest first."""

    def __len__(self) -> int:
        return len(self.slots_of)

    def resize(self, ring_slots: int) -> None:
        """The ring has so many slots now."""
        self.room = ring_slots // SHARE

    def fits(self, slots: list[Slots]) -> int:
        """How many captures as large as this one can be kept."""
        return min(self.most, self.room // count_of(slots))

    def needed(self, slots: list[Slots]) -> int:
        """Slots of a ring in which `most` captures as large as this one can be kept."""
        return self.most * count_of(slots) * SHARE

    def shortage(self, slots: list[Slots]) -> str:
        """What to do for `most` of them to fit; empty if they do."""
        fits = self.fits(slots)
        if fits == self.most:
            return ""
        needed = self.needed(slots) * SLOT_BYTES
        return (
            f"keep_last: a window of {fits} of {self.most} steps fits the half of the ring that it "
            f"may take; raise ring_bytes to {-(-needed // MEBIBYTE)} MiB, or choose fewer layers "
            "or heads"
        )

    def oldest_beside(self, sequence: int, slots: list[Slots]) -> int:
        """The oldest that can stay when this one comes; itself, when none can."""
        count = len(self) + 1
        room = self.room - self.slot_count - count_of(slots)
        for kept, theirs in self.slots_of.items():
            if count <= self.most and room >= 0:
                return kept
            count -= 1
            room += count_of(theirs)
        return sequence

    def let_go(self, before: int) -> list[Slots]:
        """The slots of those with a lower sequence number, to be used again."""
        gone: list[Slots] = []
        while (oldest := next(iter(self.slots_of), before)) < before:
            gone += self.slots_of.pop(oldest)
        self.slot_count -= count_of(gone)
        return gone

    def take_all(self) -> dict[int, list[Slots]]:
        taken, self.slots_of, self.slot_count = self.slots_of, {}, 0
        return taken


def count_of(slots: Iterable[Slots]) -> int:
    return sum(run.count for run in slots)
