"""Which slots of the ring are free: the producer's own book-keeping, without memory or I/O.

A slot is in one of two states, and only the producer moves it:

    FREE ──lend──▶ LENT ──take_back──▶ FREE

A lent slot belongs to whoever holds the message that names it. It comes back when that message
could not be sent, when the receiver acknowledges it, or never: if the receiver is gone, so is
the ring. Nothing about this is stored in shared memory, so no crash can leave it half written.
"""

from bisect import bisect_left, insort

from attnmon.link.messages import Slots


class SlotPool:
    """Lends runs of neighbouring slots; the lowest that fits, so that the same memory stays warm.

    `count` is the number of slots; `free` how many of them can be lent at present.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.free = count
        self._gaps: list[tuple[int, int]] = [(0, count)] if count else []  # sorted [first, end)
        self._lent: dict[int, int] = {}  # first -> count

    def lend(self, count: int) -> Slots | None:
        """A run of `count` slots, or None when no gap is that long. Raises ValueError below 1."""
        if count < 1:
            raise ValueError(f"count must be 1 or more, got {count}")
        for index, (first, end) in enumerate(self._gaps):
            if end - first >= count:
                self._shrink_gap(index, first + count, end)
                self._lent[first] = count
                self.free -= count
                return Slots(first, count)
        return None

    def take_back(self, slots: Slots) -> None:
        """Free a lent run. Raises ValueError, and changes nothing, if it was not lent as such."""
        if self._lent.get(slots.first) != slots.count:
            raise ValueError(f"{slots} is not lent")
        del self._lent[slots.first]
        self.free += slots.count
        self._insert_gap(slots.first, slots.first + slots.count)

    def grow(self, count: int) -> None:
        """Have `count` slots in all. Raises ValueError, and changes nothing, if that is fewer."""
        if count < self.count:
            raise ValueError(f"count must be {self.count} or more, got {count}")
        before, self.count = self.count, count  # first: interrupted, it loses slots, and lends none
        if count > before:  # twice
            self._insert_gap(before, count)
            self.free += count - before

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
