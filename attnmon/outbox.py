"""The training process's end of the hand-off: drafts in lent slots, announcements, accounts.

    with outbox.draft() as draft:          slots are lent as the arrays come
        offset = draft.lend(nbytes)        … the caller copies into the ring …
        outbox.announce(capture, draft)    from here on they are the renderer's

Copy first, announce after: a draft that is not announced gives its slots back, whatever happened,
and nobody ever knew of them. Nothing here waits, unless the user asked for it.
"""

import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import (
    Accounts,
    Acknowledgement,
    Attention,
    Capture,
    Goodbye,
    Refusal,
    Setup,
    Slots,
)
from attnmon.link.ring import SLOT_BYTES, Ring
from attnmon.link.schema import MessageError
from attnmon.link.slots import SlotPool


class RingFull(Exception):
    """The renderer is behind: there is no room for this capture now."""


class TooLarge(ValueError):
    """This capture would not fit if the ring were empty."""


@dataclass
class Tally:
    """Everything that is counted in the training process."""

    steps: int = 0
    captured: int = 0
    rendered: int = 0
    dropped: int = 0
    failed: int = 0
    """Before or after they were announced."""
    failed_here: int = 0
    """Of these, before."""
    error: str = ""
    """The latest of those."""
    hook_seconds: float = 0.0
    last_step: int | None = None
    interval: int = 0
    stretched: int = 0
    overhead: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what happens inside as time that the monitor took from the training."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.hook_seconds += time.perf_counter() - started

    def as_message(self, backlog: int) -> Accounts:
        return Accounts(
            captured=self.captured,
            dropped=self.dropped,
            failed=self.failed_here,
            error=self.error,
            hook_seconds=self.hook_seconds,
            steps=self.steps,
            last_step=self.last_step,
            interval=self.interval,
            stretched=self.stretched,
            overhead=self.overhead,
            backlog=backlog,
        )


class Draft:
    """A capture in the making: its layers, and the slots it has been lent for them.

    What is not announced is given back by `discard`, or at the end of a `with`.
    """

    def __init__(self, outbox: "Outbox") -> None:
        self._outbox = outbox
        self.attentions: list[Attention] = []
        self.slots: list[Slots] = []

    def lend(self, nbytes: int) -> int:
        """The offset in the ring of that much room. Raises `RingFull`, `TooLarge`."""
        slots = self._outbox.lend(nbytes)
        self.slots.append(slots)
        return slots.first * SLOT_BYTES

    def emptied(self) -> "Draft":
        """Another one, with nothing in it."""
        return Draft(self._outbox)

    def discard(self) -> None:
        self._outbox.take_back(self.slots)
        self.slots, self.attentions = [], []

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()


class Outbox:
    """Owns the free list and the channel; knows which captures are the renderer's at present."""

    def __init__(self, ring: Ring, channel: Channel, tally: Tally, *, wait: bool = False) -> None:
        self.ring = ring
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
        self._owner = os.getpid()
        _open_outboxes.add(self)

    @property
    def pending(self) -> int:
        """Captures announced and not acknowledged yet."""
        return len(self._pending)

    def open(self, setup: Setup) -> None:
        """Say what the renderer is to do, and hand it the ring. Raises `ChannelClosed`."""
        self._channel.send(messages.encode(setup), [self.ring.descriptor])
        self.ring.close_descriptor()

    def draft(self) -> Draft:
        return Draft(self)

    def announce(self, capture: Capture, draft: Draft) -> None:
        """Make the capture the renderer's.

        Raises `RingFull` when the renderer does not keep up, `MessageError` for a capture of too
        many layers for one message, `ChannelClosed` when the renderer is gone.
        """
        packed = messages.encode(capture)
        while not self._hand_over(packed, capture.sequence, draft):
            if not self._wait:
                raise RingFull("the renderer has not taken what was announced before")
            self._await_news()

    def _hand_over(self, packed: bytes, sequence: int, draft: Draft) -> bool:
        # Before it is sent: an interrupt between the two must not free slots that are being read.
        self._pending[sequence], draft.slots = draft.slots, []
        try:
            if self._channel.send(packed):
                return True
        except ChannelClosed:
            draft.slots = self._pending.pop(sequence)
            raise
        draft.slots = self._pending.pop(sequence)
        return False

    def has(self, sequence: int) -> bool:
        """Whether this capture was announced and is not acknowledged yet."""
        return sequence in self._pending

    def collect(self) -> bool:
        """Take what was acknowledged, and its slots, back. False: the renderer is gone."""
        try:
            while (packet := self._channel.receive()) is not None:
                for descriptor in packet.descriptors:
                    os.close(descriptor)
                self._acknowledge(packet.data)
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
            said = self._channel.send(
                messages.encode(Goodbye(self._tally.as_message(self.pending)))
            )
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
        self._channel.wait()
        self.collect()
        if self.lost:
            raise ChannelClosed("the renderer is gone")

    def lend(self, nbytes: int) -> Slots:
        """A run of slots for so many bytes. Raises `RingFull`, `TooLarge`."""
        if self.lost:
            raise ChannelClosed("the renderer is gone, or is another process's")
        count = -(-max(nbytes, 1) // SLOT_BYTES)
        while (slots := self._pool.lend(count)) is None:
            if not self._pending:
                raise TooLarge(self._too_large(count))
            if not self._wait:
                raise RingFull("every slot is still with the renderer")
            self._await_news()
        return slots

    def take_back(self, slots: list[Slots]) -> None:
        for run in slots:
            self._pool.take_back(run)

    def _too_large(self, count: int) -> str:
        needed = (count + self._pool.count - self._pool.free) * SLOT_BYTES
        return (
            f"a capture of {needed / 2**20:.1f} MiB or more does not fit the ring of "
            f"{self.ring.nbytes / 2**20:.1f} MiB; choose fewer layers or heads, or raise ring_bytes"
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


_open_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()


def _forget_all() -> None:
    # A DataLoader worker that kept a copy of the socket would hide the end of the training
    # process from the renderer. It closes its copy and does nothing else.
    for outbox in list(_open_outboxes):
        outbox.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
