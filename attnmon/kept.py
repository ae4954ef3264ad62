"""Captures that the renderer knows of while their slots stay ours: which, and how many may be.

    LENT ──announced as kept──▶ KEPT ──let go, by a message──▶ FREE
                                  └───wanted after all───────▶ the renderer's, until acknowledged

The renderer does not read them unless they are wanted. So no answer is needed before a slot is
used again: only that it was told before. If this process dies, what the renderer was told last
is what the slots hold.
"""

from attnmon.link.messages import Slots


class Kept:
    """The last captures, `most` of them at most, in `room` slots at most."""

    def __init__(self, most: int, room: int) -> None:
        self.most = most
        self.room = room
        self.slots_of: dict[int, list[Slots]] = {}
        """By sequence number, oldest first."""

    def __len__(self) -> int:
        return len(self.slots_of)

    @property
    def slot_count(self) -> int:
        return sum(map(count_of, self.slots_of.values()))

    def fits(self, slots: list[Slots]) -> int:
        """How many captures as large as this one can be kept."""
        return min(self.most, self.room // count_of(slots))

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
        gone = [sequence for sequence in self.slots_of if sequence < before]
        return [run for sequence in gone for run in self.slots_of.pop(sequence)]

    def take_all(self) -> dict[int, list[Slots]]:
        taken, self.slots_of = self.slots_of, {}
        return taken


def count_of(slots: list[Slots]) -> int:
    return sum(run.count for run in slots)
