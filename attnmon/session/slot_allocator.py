"""The room there is in the ring: what is free, what is kept, and more where that is too little.

Book-keeping; whom to tell is another's business.
"""

from collections.abc import Iterable

from attnmon.link.messages import Slots
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES, Ring
from attnmon.link.slots import SlotPool
from attnmon.session.retention_window import RetentionWindow


class SlotAllocator:
    """The slots of one ring, and the captures that are kept in some of them."""

    def __init__(self, ring: Ring, keep_last: int) -> None:
        self.kept = RetentionWindow(keep_last, ring.slot_count)
        self.pool = SlotPool(ring.slot_count)
        self.notices: list[tuple[str, str]] = []
        """(kind, text) of what the user should be told."""
        self._ring = ring
        self._may_grow_to_keep = True

    def lend(self, count: int) -> Slots | None:
        """A run of so many slots; None when there is none at present."""
        return self.pool.lend(count)

    def take_back(self, slots: Iterable[Slots]) -> None:
        for run in slots:
            self.pool.take_back(run)

    def could_let_go(self, count: int) -> bool:
        """Whether what is kept could make room for so many slots."""
        return bool(len(self.kept)) and self.pool.free + self.kept.slot_count >= count

    def grow(self, count: int) -> bool:
        """For a capture that has all there is to itself. Whether there is more now."""
        reserved = self._ring.reserved
        return self._grow_to(reserved + max(reserved, count * SLOT_BYTES), "a capture")

    def grow_to_keep(self, slots: list[Slots]) -> str:
        """Have room to keep one more capture like this; what to do where there is not enough.

        The ring grows as the window fills, not for all of it at once: that would take seconds.
        """
        fits = self.kept.fits(slots)
        if fits == self.kept.most or len(self.kept) < fits:
            return ""
        needed = self.kept.needed(slots) * SLOT_BYTES
        wanted = min(needed, max(2 * self._ring.reserved, needed // self.kept.most))
        if self._may_grow_to_keep and self._grow_to(wanted, "the window of keep_last"):
            return ""
        self._may_grow_to_keep = False  # or it would be asked for again at every step
        return self.kept.shortage(slots)

    def too_large(self, count: int) -> str:
        """What to do about a capture for which so many slots more would be too many."""
        needed = (count + self.pool.count - self.pool.free - self.kept.slot_count) * SLOT_BYTES
        return (
            f"a capture of {needed / MEBIBYTE:.1f} MiB or more does not fit the ring of "
            f"{self._ring.reserved / MEBIBYTE:.1f} MiB; choose fewer layers or heads, or raise "
            "ring_bytes"
        )

    def _grow_to(self, nbytes: int, why: str) -> bool:
        slots, before = self.pool.count, self._ring.reserved
        self._ring.grow(nbytes)
        self.pool.grow(self._ring.slot_count)  # also by what came before an interrupt, last time
        self.kept.resize(self._ring.slot_count)
        if self.pool.count == slots:
            return False
        self.notices.append(("ring", _growing(why, before, self._ring.nbytes)))
        return True


def _growing(why: str, before: int, most: int) -> str:
    return (
        f"{why} takes more than the {before / MEBIBYTE:.1f} MiB of shared memory set aside: "
        f"more is taken as it is needed, {most / MEBIBYTE:.0f} MiB at most. Fewer layers or heads "
        "take less; ring_bytes sets another bound."
    )
