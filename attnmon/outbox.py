"""The training process's end of the hand-off: drafts in lent slots, announcements, accounts.

    with outbox.draft() as draft:          slots are lent as the arrays come
        offset = draft.lend(nbytes)        … the caller copies into the ring …
        outbox.announce(capture, draft)    from here on they are the renderer's

Copy first, announce after: a draft that is not announced gives its slots back, whatever happened,
and nobody ever knew of them. Nothing here waits, unless the user asked for it.
"""

import contextlib
import os
import weakref
from collections import deque
from dataclasses import replace

from torch import Tensor

from attnmon.kept import Kept, count_of
from attnmon.link import descriptors, messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import (
    Acknowledgement,
    Attention,
    Block,
    Capture,
    Dump,
    Goodbye,
    LetGo,
    Refusal,
    Setup,
    Slots,
)
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES, Ring
from attnmon.link.schema import MessageError
from attnmon.link.slots import SlotPool
from attnmon.tally import Tally

AGAIN_SECONDS = 0.1
"""How soon to try again, for those who would rather wait: what is kept is not answered."""


class RingFull(Exception):
    """The renderer is behind: there is no room for this capture now."""


class NoRoomToKeep(RingFull):
    """There is none for a step that is not due; nobody waits for it, or counts it."""


class TooLarge(ValueError):
    """This capture would not fit if the ring were empty."""


class Draft:
    """A capture in the making: its layers, and the slots it has been lent for them.

    What is not announced is given back by `discard`, or at the end of a `with`.
    """

    def __init__(self, outbox: "Outbox", *, spare: bool = False) -> None:
        self._outbox = outbox
        self._spare = spare
        self.attentions: list[Attention] = []
        self.slots: list[Slots] = []
        self.masks: list[tuple[Block, Tensor]] = []
        """Written already, for other layers to share: where, and that part of the ring."""

    def lend(self, nbytes: int) -> int:
        """The offset in the ring of that much room. Raises `RingFull`, `TooLarge`."""
        slots = self._outbox.lend(nbytes, spare=self._spare)
        self.slots.append(slots)
        return slots.first * SLOT_BYTES

    def emptied(self) -> "Draft":
        """Another one, with nothing in it."""
        return Draft(self._outbox, spare=self._spare)

    def discard(self) -> None:
        self._outbox.take_back(self.slots)
        self.slots, self.attentions, self.masks = [], [], []

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()


class Outbox:
    """Owns the free list and the channel; knows which captures are the renderer's at present."""

    def __init__(
        self, ring: Ring, channel: Channel, tally: Tally, *, wait: bool = False, keep_last: int = 0
    ) -> None:
        self.ring = ring
        self.kept = Kept(keep_last, ring.slot_count)
        self.lost = False
        """The renderer is gone; nothing can be announced any more."""
        self.refusal = ""
        """Why the renderer takes in no more, where it has said so."""
        self._notices: list[tuple[str, str]] = []
        self._channel = channel
        self._tally = tally
        self._wait = wait
        self._pool = SlotPool(ring.slot_count)
        self._pending: dict[int, list[Slots]] = {}
        self._asked_for = 0
        """Bytes of a ring that the window of what is kept would need."""
        self._unsaid: deque[bytes] = deque()
        self._owner = os.getpid()
        _open_outboxes.add(self)

    @property
    def pending(self) -> int:
        """Captures announced and not acknowledged yet."""
        return len(self._pending)

    def open(self, setup: Setup, directory: int = -1) -> None:
        """Say what the renderer is to do, and hand it the ring. Raises `ChannelClosed`.

        `directory` is the descriptor by which the run's directory is locked; -1 for none.
        """
        lock = [directory] if directory >= 0 else []
        self._channel.send(messages.encode(setup), [self.ring.descriptor, *lock])

    def draft(self, *, spare: bool = False) -> Draft:
        """spare: of a step that is not due, for which nothing is waited."""
        return Draft(self, spare=spare)

    def announce(self, capture: Capture, draft: Draft) -> None:
        """Make the capture the renderer's.

        Raises `RingFull` when the renderer does not keep up, `MessageError` for a capture of too
        many layers for one message, `ChannelClosed` when the renderer is gone.
        """
        packed = messages.encode(capture)
        while not self._pass_on(packed, capture.sequence, draft, self._pending):
            if not self._wait:
                raise RingFull("the renderer has not taken what was announced before")
            self._await_news()

    def _pass_on(
        self, packed: bytes, sequence: int, draft: Draft, book: dict[int, list[Slots]]
    ) -> bool:
        # Before it is sent: an interrupt between the two must not free slots that are being read.
        book[sequence], draft.slots = draft.slots, []
        try:
            if self._say(packed):
                return True
        except ChannelClosed:
            draft.slots = book.pop(sequence)
            raise
        draft.slots = book.pop(sequence)
        return False

    def keep(self, capture: Capture, draft: Draft) -> None:
        """Name the capture to the renderer; its slots stay ours. Raises as `announce`."""
        oldest = self.kept.oldest_beside(capture.sequence, draft.slots)
        packed = messages.encode(replace(capture, keeps_from=oldest))
        if not self._pass_on(packed, capture.sequence, draft, self.kept.slots_of):
            raise NoRoomToKeep("the renderer has not taken what was announced before")
        self.kept.slot_count += count_of(capture.slots)
        self.take_back(self.kept.let_go(oldest))

    def dump(self, reason: str) -> None:
        """Have all drawn that is kept; from here on they count."""
        kept = self.kept.take_all()
        self._pending |= kept
        self._tally.captured += len(kept)
        accounts = self._tally.as_message(self.pending)
        self._unsaid.append(messages.encode(Dump(reason, tuple(kept), accounts)))
        with contextlib.suppress(ChannelClosed):  # then its end is heard elsewhere
            self._say_what_is_unsaid()

    def _say(self, packed: bytes) -> bool:
        """Send it, after what there was no room for before. False: nor is there for this."""
        return self._say_what_is_unsaid() and self._channel.send(packed)

    def _say_what_is_unsaid(self) -> bool:
        while self._unsaid:
            if not self._channel.send(self._unsaid[0]):
                return False
            self._unsaid.popleft()
        return True

    def has(self, sequence: int) -> bool:
        """Whether this capture was announced and is not acknowledged yet."""
        return sequence in self._pending

    def collect(self) -> bool:
        """Take what was acknowledged, and its slots, back. False: the renderer is gone."""
        try:
            while (packet := self._channel.receive()) is not None:
                for descriptor in packet.descriptors:
                    descriptors.close(descriptor)
                self._acknowledge(packet.data)
                if not self._pending:
                    break  # nothing more is to be expected
        except ChannelClosed:
            self._give_up()
        return not self.lost

    def take_notices(self) -> list[tuple[str, str]]:
        """(kind, text) of what the user should be told, each once."""
        notices, self._notices = self._notices, []
        return notices

    def say_goodbye(self) -> bool:
        """Announce the end; what is pending is still drawn and acknowledged.

        False when the renderer is so far behind that there is no room for the word: say it again.
        """
        try:
            said = self._say(messages.encode(Goodbye(self._tally.as_message(self.pending))))
        except ChannelClosed:
            self.collect()  # what it said last is still to be read
            said = True
        if said:
            self._channel.end_sending()
        return said

    def await_news(self, seconds: float) -> None:
        """Wait for an acknowledgement or the renderer's end, at most so long, and take it."""
        self._channel.wait(seconds)
        self.collect()

    def forget(self) -> None:
        """In a forked child, or at the end: no more of this, without a word to the renderer."""
        self.lost = True
        self._channel.close()
        self.ring.close_descriptor()

    def _await_news(self) -> None:
        self._channel.wait(AGAIN_SECONDS)
        self.collect()
        self._require_renderer()

    def _require_renderer(self) -> None:
        if self.lost:
            raise ChannelClosed("the renderer is gone, or is another process's")

    def lend(self, nbytes: int, *, spare: bool = False) -> Slots:
        """A run of slots for so many bytes; what is kept makes room for it, the oldest first.

        Raises `RingFull`, `TooLarge`.
        """
        count = -(-max(nbytes, 1) // SLOT_BYTES)
        self._require_renderer()
        if (slots := self._pool.lend(count)) is not None:
            return slots
        self.collect()  # what was drawn in the meantime is free again
        while (slots := self._pool.lend(count)) is None:
            self._require_renderer()
            if self._let_go_one(count):
                continue
            is_empty = not self._pending and not self._could_let_go(count)
            if is_empty and self._grow(count):
                continue
            if spare:
                raise NoRoomToKeep("every slot is in use")
            if is_empty:
                raise TooLarge(self._too_large(count))
            if not self._wait:
                raise RingFull("every slot is still with the renderer")
            self._await_news()
        return slots

    def _let_go_one(self, count: int) -> bool:
        """The oldest that is kept, if that helps and the renderer can be told of it."""
        if not self._could_let_go(count):
            return False
        after = next(iter(self.kept.slots_of)) + 1
        if not self._say(messages.encode(LetGo(after))):
            return False
        self.take_back(self.kept.let_go(after))
        return True

    def make_room_to_keep(self, slots: list[Slots]) -> None:
        """Have a ring for as many captures like this one as are to be kept, if it may grow so."""
        needed = self.kept.needed(slots) * SLOT_BYTES
        if needed > max(self.ring.reserved, self._asked_for):
            self._asked_for = needed  # once: memory that is refused now will be at the next step
            self._grow_to(needed, "the window of keep_last")

    def _grow(self, count: int) -> bool:
        """For a capture that has all the ring to itself. Whether the ring is larger now."""
        reserved = self.ring.reserved
        return self._grow_to(reserved + max(reserved, count * SLOT_BYTES), "a capture")

    def _grow_to(self, nbytes: int, why: str) -> bool:
        before = self.ring.reserved
        if not self.ring.grow(nbytes):
            return False
        self._pool.grow(self.ring.slot_count)
        self.kept.resize(self.ring.slot_count)
        self._notices.append(("ring", _growing(why, before, self.ring.nbytes)))
        return True

    def _could_let_go(self, count: int) -> bool:
        """Whether what is kept could make room for so many slots."""
        return bool(len(self.kept)) and self._pool.free + self.kept.slot_count >= count

    def take_back(self, slots: list[Slots]) -> None:
        for run in slots:
            self._pool.take_back(run)

    def _too_large(self, count: int) -> str:
        needed = (count + self._pool.count - self._pool.free - self.kept.slot_count) * SLOT_BYTES
        return (
            f"a capture of {needed / 2**20:.1f} MiB or more does not fit the ring of "
            f"{self.ring.reserved / 2**20:.1f} MiB; choose fewer layers or heads, or raise "
            "ring_bytes"
        )

    def _acknowledge(self, packed: bytes) -> None:
        try:
            message = messages.decode(packed)
        except MessageError:
            return
        if isinstance(message, Refusal):
            self.refusal = message.reason
        elif isinstance(message, Acknowledgement) and message.sequence in self._pending:
            self.take_back(self._pending.pop(message.sequence))
            self._notices += message.notices
            if message.error:
                self._tally.failed += 1
                self._notices.append(("failed", f"a capture could not be drawn: {message.error}"))
            else:
                self._tally.rendered += 1

    def _give_up(self) -> None:
        """The renderer is gone, and with it what it had not acknowledged."""
        self.lost = True
        self._channel.close()  # if it is not, this is its word to finish
        self._tally.failed += len(self._pending)
        self._pending.clear()
        self.kept.take_all()


def _growing(why: str, before: int, most: int) -> str:
    return (
        f"{why} takes more than the {before / MEBIBYTE:.1f} MiB of shared memory set aside: "
        f"more is taken as it is needed, {most / MEBIBYTE:.0f} MiB at most. Fewer layers or heads "
        "take less; ring_bytes sets another bound."
    )


_open_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()


def _forget_all() -> None:
    # A DataLoader worker that kept a copy of the socket would hide the end of the training
    # process from the renderer. It closes its copy and does nothing else.
    for outbox in list(_open_outboxes):
        outbox.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
