"""The training process's end of the hand-off: slots are lent, announced, and come back.

Copy first, announce after. Nothing here waits, unless the user asked for it.
"""

import contextlib
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
from attnmon.session.retention_window import count_slots
from attnmon.session.slot_allocator import SlotAllocator

RETRY_SECONDS = 0.1
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
        self.allocator = SlotAllocator(ring, keep_last)
        self.lost = False
        """The renderer is gone; nothing can be announced any more."""
        self.refusal = ""
        """Why the renderer takes in no more, where it has said so."""
        self._notices: list[tuple[str, str]] = []
        self._channel = channel
        self._counters = counters
        self._wait = wait
        self._pending: dict[int, list[Slots]] = {}
        self._unsent: deque[bytes] = deque()
        descriptors.abandon_after_fork(self)

    @property
    def pending(self) -> int:
        """Captures announced and not acknowledged yet."""
        return len(self._pending)

    def send_setup(self, setup: Setup, directory: int = -1) -> None:
        """Say what the renderer is to do, and hand it the ring. Raises `ChannelClosed`.

        `directory` is the descriptor by which the run's directory is locked; -1 for none.
        """
        lock = [directory] if directory >= 0 else []
        self._channel.send(messages.encode(setup), [self.ring.descriptor, *lock])

    def new_builder(self, *, retained: bool = False) -> CaptureBuilder:
        """retained: of a step that is not due, for which nothing is waited."""
        return CaptureBuilder(self, retained=retained)

    def announce(self, capture: Capture, builder: CaptureBuilder) -> None:
        """Make the capture the renderer's.

        Raises `RingFull` when the renderer does not keep up, `MessageError` for a capture of too
        many layers for one message, `ChannelClosed` when the renderer is gone.
        """
        packed = messages.encode(capture)
        while not self._send_capture(packed, capture.sequence, builder, self._pending):
            if not self._wait:
                raise RingFull("the renderer has not taken what was announced before")
            self._wait_for_room()

    def _send_capture(
        self, packed: bytes, sequence: int, builder: CaptureBuilder, table: dict[int, list[Slots]]
    ) -> bool:
        # Before it is sent: an interrupt between the two must not free slots that are being read.
        table[sequence], builder.slots = builder.slots, []
        try:
            if self._send(packed):
                return True
        except ChannelClosed:
            builder.slots = table.pop(sequence)
            raise
        builder.slots = table.pop(sequence)
        return False

    def retain(self, capture: Capture, builder: CaptureBuilder) -> None:
        """Name the capture to the renderer; its slots stay ours. Raises as `announce`."""
        window = self.allocator.window
        oldest = window.oldest_beside(capture.sequence, builder.slots)
        packed = messages.encode(replace(capture, keeps_from=oldest))
        if not self._send_capture(packed, capture.sequence, builder, window.slots_of):
            raise NoRoomToRetain("the renderer has not taken what was announced before")
        window.slot_count += count_slots(capture.slots)
        self.free(window.release(oldest))

    def dump(self, reason: str) -> None:
        """Have all drawn that is kept; from here on they count."""
        kept = self.allocator.window.pop_all()
        self._pending |= kept
        self._counters.captured += len(kept)
        accounts = self._counters.as_message(self.pending)
        self._unsent.append(messages.encode(Dump(reason, tuple(kept), accounts)))
        with contextlib.suppress(ChannelClosed):  # then its end is heard elsewhere
            self._flush_unsent()

    def _send(self, packed: bytes) -> bool:
        """Send it, after what there was no room for before. False: nor is there for this."""
        return self._flush_unsent() and self._channel.send(packed)

    def _flush_unsent(self) -> bool:
        while self._unsent:
            if not self._channel.send(self._unsent[0]):
                return False
            self._unsent.popleft()
        return True

    def is_pending(self, sequence: int) -> bool:
        """Whether this capture was announced and is not acknowledged yet."""
        return sequence in self._pending

    def poll(self) -> bool:
        """Take what was acknowledged, and its slots, back. False: the renderer is gone."""
        try:
            while (packet := self._channel.receive()) is not None:
                for descriptor in packet.descriptors:
                    descriptors.close(descriptor)
                self._acknowledge(packet.data)
                if not self._pending:
                    break  # nothing more is to be expected
        except ChannelClosed:
            self._mark_lost()
        return not self.lost

    def pop_notices(self) -> list[tuple[str, str]]:
        """(kind, text) of what the user should be told, each once."""
        notices, self._notices = self._notices + self.allocator.notices, []
        self.allocator.notices = []
        return notices

    def send_goodbye(self) -> bool:
        """Announce the end; what is pending is still drawn and acknowledged.

        False when the renderer is so far behind that there is no room for the word: say it again.
        """
        try:
            said = self._send(messages.encode(Goodbye(self._counters.as_message(self.pending))))
        except ChannelClosed:
            self.poll()  # what it said last is still to be read
            said = True
        if said:
            self._channel.end_sending()
        return said

    def wait_for_message(self, seconds: float) -> None:
        """Wait for an acknowledgement or the renderer's end, at most so long, and take it."""
        self._channel.wait(seconds)
        self.poll()

    def abandon(self) -> None:
        """In a forked child, or at the end: no more of this, without a word to the renderer."""
        self.lost = True
        self._channel.close()
        self.ring.close_descriptor()

    def _wait_for_room(self) -> None:
        self._channel.wait(RETRY_SECONDS)
        self.poll()
        self._require_renderer()

    def _require_renderer(self) -> None:
        if self.lost:
            raise ChannelClosed("the renderer is gone, or is another process's")

    def allocate(self, nbytes: int, *, retained: bool = False) -> Slots:
        """A run of slots for so many bytes; what is kept makes room for it, the oldest first.

        Raises `RingFull`, `TooLarge`.
        """
        count = -(-max(nbytes, 1) // SLOT_BYTES)
        self._require_renderer()
        if (slots := self.allocator.allocate(count)) is not None:
            return slots
        self.poll()  # what was drawn in the meantime is free again
        while (slots := self.allocator.allocate(count)) is None:
            self._require_renderer()
            if self._evict_oldest(count):
                continue
            is_empty = not self._pending and not self.allocator.could_evict(count)
            if is_empty and self.allocator.grow(count):
                continue
            if retained:
                raise NoRoomToRetain("every slot is in use")
            if is_empty:
                raise TooLarge(self.allocator.explain_too_large(count))
            if not self._wait:
                raise RingFull("there is no room beside what is still with the renderer")
            self._wait_for_room()
        return slots

    def _evict_oldest(self, count: int) -> bool:
        """The oldest that is kept, if that helps and the renderer can be told of it."""
        if not self.allocator.could_evict(count):
            return False
        after = next(iter(self.allocator.window.slots_of)) + 1
        if not self._send(messages.encode(Release(after))):
            return False
        self.free(self.allocator.window.release(after))
        return True

    def free(self, slots: Iterable[Slots]) -> None:
        self.allocator.free(slots)

    def _acknowledge(self, packed: bytes) -> None:
        try:
            message = messages.decode(packed)
        except MessageError:
            return
        if isinstance(message, Refusal):
            self.refusal = message.reason
        elif isinstance(message, Acknowledgement) and message.sequence in self._pending:
            self.free(self._pending.pop(message.sequence))
            self._notices += message.notices
            if message.error:
                self._counters.failed += 1
                self._notices.append(("failed", f"a capture could not be drawn: {message.error}"))
            else:
                self._counters.rendered += 1

    def _mark_lost(self) -> None:
        """The renderer is gone, and with it what it had not acknowledged."""
        self.lost = True
        self._channel.close()  # if it is not, this is its word to finish
        self._counters.failed += len(self._pending)
        self._pending.clear()
        self.allocator.window.pop_all()
