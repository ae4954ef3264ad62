"""A capture in the making: its layers, in slots that are lent by `with`.

    with outbox.draft() as draft:          slots are lent as the arrays come
        offset = draft.lend(nbytes)        … the caller copies into the ring …
        outbox.announce(capture, draft)    from here on they are the renderer's

A draft that is not announced gives its slots back, whatever happened, and nobody ever knew of them.
"""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from attnmon.link.messages import ArrayBlock, Attention, Slots
from attnmon.link.ring import SLOT_BYTES
from attnmon.serialize.ring_writer import aligned


class RingFull(Exception):
    """The renderer is behind: there is no room for this capture now."""


class NoRoomToRetain(RingFull):
    """There is none for a step that is not due; nobody waits for it, or counts it."""


class TooLarge(ValueError):
    """This capture would not fit if the ring were empty."""


class SlotSource(Protocol):
    def allocate(self, nbytes: int, *, retained: bool) -> Slots: ...
    def free(self, slots: Iterable[Slots]) -> None: ...


class CaptureBuilder:
    """A capture in the making: its layers, and the slots it has been lent for them.

    What is not announced is given back by `discard`, or at the end of a `with`.
    """

    def __init__(self, slots: SlotSource, *, retained: bool = False) -> None:
        self._slots = slots
        self._retained = retained
        self.attentions: list[Attention] = []
        self.slots: list[Slots] = []
        self._next = self._end = 0
        """What is left of the run lent last."""
        self.masks: list[tuple[ArrayBlock, Tensor]] = []
        """Written already, for other layers to share: where, and that part of the ring."""

    def reserve(self, nbytes: int) -> int:
        """The offset in the ring of that much room. Raises `RingFull`, `TooLarge`.

        Small layers share a slot: each begins where the one before it ended, if there is room.
        """
        if not self.slots or self._next + nbytes > self._end:
            slots = self._slots.allocate(nbytes, retained=self._retained)
            self.slots.append(slots)
            self._next = slots.first * SLOT_BYTES
            self._end = self._next + slots.count * SLOT_BYTES
        offset = self._next
        self._next += aligned(nbytes)
        return offset

    def emptied(self) -> "CaptureBuilder":
        """Another one, with nothing in it."""
        return CaptureBuilder(self._slots, retained=self._retained)

    def discard(self) -> None:
        self._slots.free(self.slots)
        self.slots, self.attentions, self.masks = [], [], []

    def __enter__(self) -> "CaptureBuilder":
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()
