"""The training process's end of the hand-off: slots are lent, announced, and come back.

Copy first, announce after. Nothing here waits, unless the user asked for it.
"""

import contextlib
import os
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from attnmon.accounting.counters import Counters
from attnmon.link import descriptors, messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import (
    Acknowledgement,
    Capture,
    Dump,
    Goodbye,
    Refusal,
    Release,
    Setup,
    Slots,
)
from attnmon.link.ring import SLOT_BYTES, Ring
from attnmon.link.schema import MessageError
from attnmon.serialize.capture_builder import CaptureBuilder, NoRoomToRetain, RingFull, TooLarge
from attnmon.session.retention_window import count_of
from attnmon.session.slot_allocator import SlotAllocator

AGAIN_SECONDS = 0.1
"""How soon to try again, for those who would rather wait: what is kept is not answered."""


class Producer:
    """Owns the ring's room and the channel; knows which captures are the renderer's at present."""

    def __init__(
        self,
        ring: Ring,
        channel: Channel,
        counters: Counters,
        *,
        wait: bool = False,
        keep_last: int = 0,
    ) -> None:
        self.ring = ring
        self.room = SlotAllocator(ring, keep_last)
        self.lost = False
        """The renderer is gone; nothing can be announced any more."""
        self.refusal = ""
        """Why the renderer takes in no more, where it has said so."""
        self._notices: list[tuple[str, str]] = []
        self._channel = channel
        self._counters = counters
        self._wait = wait
        self._pending: dict[int, list[Slots]] = {}
        self._unsaid: deque[bytes] = deque()
        self._owner = os.getpid()
        _open_producers.add(self)

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

    def builder(self, *, spare: bool = False) -> CaptureBuilder:
        """spare: of a step that is not due, for which nothing is waited."""
        return CaptureBuilder(self, spare=spare)

    def announce(self, capture: Capture, builder: CaptureBuilder) -> None:
        """Make the capture the renderer's.

        Raises `RingFull` when the renderer does not keep up, `MessageError` for a capture of too
        many layers for one message, `ChannelClosed` when the renderer is gone.
        """
        packed = messages.encode(capture)
        while not self._pass_on(packed, capture.sequence, builder, self._pending):
            if not self._wait:
                raise RingFull("the renderer has not taken what was announced before")
            self._await_news()

    def _pass_on(
        self, packed: bytes, sequence: int, builder: CaptureBuilder, book: dict[int, list[Slots]]
    ) -> bool:
        # Before it is sent: an interrupt between the two must not free slots that are being read.
        book[sequence], builder.slots = builder.slots, []
        try:
            if self._say(packed):
                return True
        except ChannelClosed:
            builder.slots = book.pop(sequence)
            raise
        builder.slots = book.pop(sequence)
        return False

    def keep(self, capture: Capture, builder: CaptureBuilder) -> None:
        """Name the capture to the renderer; its slots stay ours. Raises as `announce`."""
        kept = self.room.kept
        oldest = kept.oldest_beside(capture.sequence, builder.slots)
        packed = messages.encode(replace(capture, keeps_from=oldest))
        if not self._pass_on(packed, capture.sequence, builder, kept.slots_of):
            raise NoRoomToRetain("the renderer has not taken what was announced before")
        kept.slot_count += count_of(capture.slots)
        self.take_back(kept.let_go(oldest))

    def dump(self, reason: str) -> None:
        """Have all drawn that is kept; from here on they count."""
        kept = self.room.kept.take_all()
        self._pending |= kept
        self._counters.captured += len(kept)
        accounts = self._counters.as_message(self.pending)
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
        notices, self._notices = self._notices + self.room.notices, []
        self.room.notices = []
        return notices

    def say_goodbye(self) -> bool:
        """Announce the end; what is pending is still drawn and acknowledged.

        False when the renderer is so far behind that there is no room for the word: say it again.
        """
        try:
            said = self._say(messages.encode(Goodbye(self._counters.as_message(self.pending))))
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
        if (slots := self.room.lend(count)) is not None:
            return slots
        self.collect()  # what was drawn in the meantime is free again
        while (slots := self.room.lend(count)) is None:
            self._require_renderer()
            if self._let_go_one(count):
                continue
            is_empty = not self._pending and not self.room.could_let_go(count)
            if is_empty and self.room.grow(count):
                continue
            if spare:
                raise NoRoomToRetain("every slot is in use")
            if is_empty:
                raise TooLarge(self.room.too_large(count))
            if not self._wait:
                raise RingFull("there is no room beside what is still with the renderer")
            self._await_news()
        return slots

    def _let_go_one(self, count: int) -> bool:
        """The oldest that is kept, if that helps and the renderer can be told of it."""
        if not self.room.could_let_go(count):
            return False
        after = next(iter(self.room.kept.slots_of)) + 1
        if not self._say(messages.encode(Release(after))):
            return False
        self.take_back(self.room.kept.let_go(after))
        return True

    def take_back(self, slots: Iterable[Slots]) -> None:
        self.room.take_back(slots)

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
                self._counters.failed += 1
                self._notices.append(("failed", f"a capture could not be drawn: {message.error}"))
            else:
                self._counters.rendered += 1

    def _give_up(self) -> None:
        """The renderer is gone, and with it what it had not acknowledged."""
        self.lost = True
        self._channel.close()  # if it is not, this is its word to finish
        self._counters.failed += len(self._pending)
        self._pending.clear()
        self.room.kept.take_all()


_open_producers: weakref.WeakSet[Producer] = weakref.WeakSet()


def _forget_all() -> None:
    # A DataLoader worker that kept a copy of the socket would hide the end of the training
    # process from the renderer. It closes its copy and does nothing else.
    for producer in list(_open_producers):
        producer.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
