"""The room there is in the ring: what is free, what is kept, and more where that is too little.

Book-keeping; whom to tell is another's business.
"""

from collections.abc import Iterable

from attnmon.kept import Kept
from attnmon.link.messages import Slots
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES, Ring
from attnmon.link.slots import SlotPool


class Room:
    """The slots of one ring, and the captures that are kept in some of them."""

    def __init__(self, ring: Ring, keep_last: int) -> None:
        self.kept = Kept(keep_last, ring.slot_count)
        self.pool = SlotPool(ring.slot_count)
        self.notices: list[tuple[str, str]] = []
        """(kind, text) of what the user should be told."""
        self._ring = ring
        self._asked_for = 0
        """Bytes that the window of what is kept would need."""

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

    def grow_to_keep(self, slots: list[Slots]) -> None:
        """Have room for as many captures like this one as are to be kept, if there may be."""
        needed = self.kept.needed(slots) * SLOT_BYTES
        if needed > max(self._ring.reserved, self._asked_for):
            self._asked_for = needed  # once: memory that is refused now will be at the next step
            self._grow_to(needed, "the window of keep_last")

    def too_large(self, count: int) -> str:
        """What to do about a capture for which so many slots more would be too many."""
        needed = (count + self.pool.count - self.pool.free - self.kept.slot_count) * SLOT_BYTES
        return (
            f"a capture of {needed / MEBIBYTE:.1f} MiB or more does not fit the ring of "
            f"{self._ring.reserved / MEBIBYTE:.1f} MiB; choose fewer layers or heads, or raise "
            "ring_bytes"
        )

    def _grow_to(self, nbytes: int, why: str) -> bool:
        before = self._ring.reserved
        if not self._ring.grow(nbytes):
            return False
        self.pool.grow(self._ring.slot_count)
        self.kept.resize(self._ring.slot_count)
        self.notices.append(("ring", _growing(why, before, self._ring.nbytes)))
        return True


def _growing(why: str, before: int, most: int) -> str:
    return (
        f"{why} takes more than the {before / MEBIBYTE:.1f} MiB of shared memory set aside: "
        f"more is taken as it is needed, {most / MEBIBYTE:.0f} MiB at most. Fewer layers or heads "
        "take less; ring_bytes sets another bound."
    )
