"""Keeps the list of free slots of the ring, in the producer; performs no I/O.

A slot is in one of two states, and only the producer moves it:

    FREE ──allocate──▶ ALLOCATED ──free──▶ FREE

An allocated slot belongs to whoever holds the message that names it. It is freed when that
message could not be sent, when the receiver acknowledges it, or never: if the receiver is gone,
so is the ring. Nothing of this is stored in shared memory: no crash can leave it half written.
"""

from bisect import bisect_left, insort

from attnmon.link.records.ring_blocks import Slots


class SlotPool:
    """Allocates runs of neighbouring slots, the lowest that fits: the same memory stays in cache.

    `count` is the number of slots; `free_count` how many of them are free.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.free_count = count
        self._gaps: list[tuple[int, int]] = [(0, count)] if count else []  # sorted [first, end)
        self._allocated: dict[int, int] = {}  # first -> count

    def allocate(self, count: int) -> Slots | None:
        """Return a run of `count` slots, or None when no gap is that long.

        Raises ValueError for a count below 1.
        """
        if count < 1:
            raise ValueError(f"count must be 1 or more, got {count}")
        for index, (first, end) in enumerate(self._gaps):
            if end - first >= count:
                self._shrink_gap(index, first + count, end)
                self._allocated[first] = count
                self.free_count -= count
                return Slots(first, count)
        return None

    def free(self, slots: Slots) -> None:
        """Free an allocated run. Raises ValueError, and changes nothing, for any other."""
        if self._allocated.get(slots.first) != slots.count:
            raise ValueError(f"{slots} is not allocated")
        del self._allocated[slots.first]
        self.free_count += slots.count
        self._insert_gap(slots.first, slots.first + slots.count)

    def grow(self, count: int) -> None:
        """Have `count` slots in all. Raises ValueError, and changes nothing, if that is fewer."""
        if count < self.count:
            raise ValueError(f"count must be {self.count} or more, got {count}")
        # The count first: an interruption then loses the new slots, and allocates none twice.
        before, self.count = self.count, count
        if count > before:
            self._insert_gap(before, count)
            self.free_count += count - before

    def _shrink_gap(self, index: int, first: int, end: int) -> None:
        if first == end:
            del self._gaps[index]
        else:
            self._gaps[index] = (first, end)

    def _insert_gap(self, first: int, end: int) -> None:
        index = bisect_left(self._gaps, (first, end))
        if index < len(self._gaps) and self._gaps[index][0] == end:
            end = self._gaps.pop(index)[1]
        if index > 0 and self._gaps[index - 1][1] == first:
            first = self._gaps.pop(index - 1)[0]
        insort(self._gaps, (first, end))
