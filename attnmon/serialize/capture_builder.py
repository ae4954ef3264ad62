"""A capture in the making, from the first layer that is copied to the message that names them.

    with producer.new_builder() as builder:
        offset = builder.reserve(nbytes)       slots are allocated as the arrays come
        …                                      the caller copies into the ring
        producer.announce(capture, builder)    from here on the slots are the renderer's

A builder that is not announced frees its slots at the end of the `with`, whatever happened.
"""

from collections.abc import Iterable, Set
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from attnmon.layers.layer_numbering import Role
from attnmon.link.messages import SeenIn
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.sample_image import SampleImage
from attnmon.link.ring import SLOT_BYTES
from attnmon.serialize.ring_writer import aligned
from attnmon.serialize.sample_padding import SamplePadding
from attnmon.serialize.sample_tokens import SampleTokens
from attnmon.serialize.small_image import SmallImage


class NotSeen(Exception):
    """This step's attention was not watched, and cannot be seen any more."""


class RingFull(Exception):
    """The renderer is behind: there is no room for this capture now."""


class NoRoomToRetain(RingFull):
    """There is no room for a step that is not due. It is not waited for, and not counted."""


class TooLarge(ValueError):
    """This capture would not fit if the ring were empty."""


class SlotSource(Protocol):
    """Where a builder gets its slots from: the producer."""

    def allocate(self, nbytes: int, *, retained: bool, hoped: int = 0) -> Slots: ...
    def free(self, runs: Iterable[Slots]) -> None: ...


class CaptureBuilder:
    """A capture in the making: its layers, their slots, and which sample they are of.

    Frees the slots that are still its own in `discard`, or at the end of a `with`.
    """

    def __init__(
        self,
        source: SlotSource,
        *,
        sample: int = 0,
        seen_in: SeenIn = "probe",
        retained: bool = False,
        hoped: int = 0,
    ) -> None:
        """`hoped`: bytes that it will likely take; they are asked for at once."""
        self.sample = sample
        """Index in the batch of the sample that is captured: the same for all layers."""
        self.seen_in: SeenIn = seen_in
        """Whether its layers come from the model's own forward, an extra one, or the user."""
        self.retained = retained
        """Whether it is of a step that is not due, for which nothing is waited."""
        self.attentions: list[Attention] = []
        """The records of the layers written so far."""
        self.slots: list[Slots] = []
        """The slots that hold their arrays."""
        self.masks: list[tuple[ArrayBlock, Tensor]] = []
        """Masks that later layers may share: where each lies, and that part of the ring."""
        self.tokens: SampleTokens | None = None
        """What labels can be made of, where the inputs are known and the user gave a tokenizer."""
        self.padding = SamplePadding()
        """What the masks among the inputs say is padding."""
        self.compared: set[str] = set()
        """Kernels of which a layer is sent both summed up and as query and key."""
        self.padding_blocks: tuple[ArrayBlock | None, ArrayBlock | None] = (None, None)
        """Where the encoder's and the decoder's were written."""
        self.shows_probe = False
        """Whether it is of the user's own batch (`probe`), and not of what was logged."""
        self.roles: Set[Role] = frozenset()
        """The roles of all layers of the model, also of those that are not captured."""
        self.seen_image: SmallImage | None = None
        """The image among the inputs of the forward, where one is to be shown."""
        self.image: SampleImage | None = None
        """The record of the image that was written."""
        self._source = source
        self._hoped = hoped
        self._next = self._end = 0
        """The unused bytes of the run allocated last: offsets in the ring."""

    def reserve(self, nbytes: int) -> int:
        """Return the offset in the ring of this many bytes. Raises `RingFull`, `TooLarge`.

        Small layers share a slot: each begins where the one before it ended, if there is room.
        """
        if not self.slots or self._next + nbytes > self._end:
            hoped = 0 if self.slots else self._hoped
            slots = self._source.allocate(nbytes, retained=self.retained, hoped=hoped)
            self.slots.append(slots)
            self._next = slots.first * SLOT_BYTES
            self._end = self._next + slots.count * SLOT_BYTES
        offset = self._next
        self._next += aligned(nbytes)
        return offset

    @property
    def nbytes(self) -> int:
        """Bytes reserved so far, with what was left of runs that were too short."""
        slots = sum(run.count for run in self.slots)
        return slots * SLOT_BYTES - (self._end - self._next)

    def forget_padding(self) -> None:
        """Leave out what devices have summed up of padding: it is said to be elsewhere."""
        for place, attention in enumerate(self.attentions):
            if attention.summary is not None:
                unknown = replace(attention.summary, knows_padding=False)
                self.attentions[place] = replace(attention, summary=unknown)

    def detach(self) -> "CaptureBuilder":
        """Move all it has into another builder, and return that one.

        As with `ExitStack.pop_all`, the end of this one's `with` then frees nothing.
        """
        other = CaptureBuilder(
            self._source, sample=self.sample, seen_in=self.seen_in, retained=self.retained
        )
        other.slots, other.attentions, other.masks = self.slots, self.attentions, self.masks
        other.tokens, other.roles = self.tokens, self.roles
        other.shows_probe = self.shows_probe
        other.padding, other.padding_blocks = self.padding, self.padding_blocks
        other.image = self.image
        other._next, other._end = self._next, self._end
        self.slots, self.attentions, self.masks = [], [], []
        return other

    def discard(self) -> None:
        """Free the slots that are still its own, and forget its layers."""
        self._source.free(self.slots)
        self.slots, self.attentions, self.masks = [], [], []

    def __enter__(self) -> "CaptureBuilder":
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()
