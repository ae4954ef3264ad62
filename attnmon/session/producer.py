"""The training process's end of the channel: announces captures and reads acknowledgements.

Copy first, announce after. Nothing here waits, unless the user asked for it.
"""

import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from attnmon.accounting.counters import Counters
from attnmon.link import descriptors, messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Acknowledgement, Capture, Dump, Goodbye, Refusal, Release, SeenIn
from attnmon.link.records.alert import Alert
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.records.run_setup import Setup
from attnmon.link.records.schema import MessageError
from attnmon.link.records.training_accounts import Remarks
from attnmon.link.ring import SLOT_BYTES, Ring
from attnmon.serialize.capture_builder import CaptureBuilder, NoRoomToRetain, RingFull
from attnmon.session.eviction import reclaim
from attnmon.session.retention_window import count_slots
from attnmon.session.slot_allocator import SlotAllocator

RETRY_SECONDS = 0.1
"""How long `on_full="wait"` waits for a message before it looks for room again.

Room can come without a message: a retained capture that the renderer has read is not answered.
"""


class Producer:
    """Owns the ring's slots and the channel; tracks which captures the renderer holds."""

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
        self.waits_for_room = wait
        """Whether to wait for the renderer rather than drop a capture (`on_full="wait"`)."""
        self.lost = False
        """Whether the renderer is gone, so that nothing can be announced any more."""
        self.refusal = ""
        """The renderer's reason for accepting no more captures; empty while it accepts them."""
        self._notices: list[tuple[str, str]] = []
        self._verdicts: list[tuple[str, str]] = []
        self._alerts: list[Alert] = []
        self._channel = channel
        self._counters = counters
        self._pending: dict[int, list[Slots]] = {}
        self._unsent: deque[bytes] = deque()
        self._latest_bytes = 0
        """What the latest capture took: the next will likely take as much."""
        descriptors.abandon_after_fork(self)

    # Captures

    @property
    def pending(self) -> int:
        """The number of captures announced and not acknowledged yet."""
        return len(self._pending)

    def is_pending(self, sequence: int) -> bool:
        """Return whether this capture was announced and is not acknowledged yet."""
        return sequence in self._pending

    def new_builder(
        self, *, sample: int = 0, seen_in: SeenIn = "probe", retained: bool = False
    ) -> CaptureBuilder:
        """Return an empty capture whose slots come from this ring."""
        is_spare = not len(self.allocator.window)  # what is retained takes all that is left
        hoped = self._latest_bytes if is_spare else 0
        return CaptureBuilder(self, sample=sample, seen_in=seen_in, retained=retained, hoped=hoped)

    def allocate(self, nbytes: int, *, retained: bool = False, hoped: int = 0) -> Slots:
        """Return a run of slots for this many bytes; reclaims some where none are free.

        `hoped`: bytes that are taken instead, where the ring is not half full.

        Raises `RingFull` (for a retained capture `NoRoomToRetain`), `TooLarge`, `ChannelClosed`.
        """
        self.require_renderer()
        count, more = (-(-max(size, 1) // SLOT_BYTES) for size in (nbytes, hoped))
        slots = None
        if count < more <= self.allocator.pool.free_count // 2:
            slots = self.allocator.allocate(more)
        slots = slots or self.allocator.allocate(count)
        return reclaim(self, count, retained=retained) if slots is None else slots

    def free(self, runs: Iterable[Slots]) -> None:
        """Take back slots that nobody else was told of."""
        self.allocator.free(runs)

    def announce(self, capture: Capture, builder: CaptureBuilder) -> None:
        """Send the capture: its slots are the renderer's until it acknowledges.

        Raises `RingFull` when the renderer does not keep up, `MessageError` for a capture of too
        many layers for one message, `ChannelClosed` when the renderer is gone.
        """
        packed = messages.encode(capture)
        while not self._send_capture(packed, capture.sequence, builder, self._pending):
            if not self.waits_for_room:
                raise RingFull("the renderer has not taken what was announced before")
            self.wait_for_room()

    def retain(self, capture: Capture, builder: CaptureBuilder) -> None:
        """Name the capture to the renderer, but keep its slots; releases what is too old.

        Raises `NoRoomToRetain` when the renderer does not keep up; otherwise as `announce`.
        """
        window = self.allocator.window
        oldest = window.oldest_beside(capture.sequence, builder.slots)
        packed = messages.encode(replace(capture, retained_from=oldest))
        if not self._send_capture(packed, capture.sequence, builder, window.slots_of):
            raise NoRoomToRetain("the renderer has not taken what was announced before")
        window.slot_count += count_slots(capture.slots)
        self.free(window.release(oldest))

    def release(self, before: int) -> bool:
        """Release the retained captures with a lower sequence number, and free their slots.

        False, and nothing done, when there is no room for the message.
        """
        if not self._send(messages.encode(Release(before))):
            return False
        self.free(self.allocator.window.release(before))
        return True

    def dump(self, reason: str) -> None:
        """Have all retained captures drawn; from here on they count as captured."""
        retained = self.allocator.window.pop_all()
        self._pending |= retained
        self._counters.captured += len(retained)
        accounts = self._counters.as_message(self.pending)
        self._unsent.append(messages.encode(Dump(reason, tuple(retained), accounts)))
        with contextlib.suppress(ChannelClosed):  # the next `poll` notices it
            self._flush_unsent()

    # Messages

    def send_setup(self, setup: Setup, directory: int = -1) -> None:
        """Send the renderer its settings and the ring. Raises `ChannelClosed`.

        `directory` is the descriptor by which the run's directory is locked; -1 for none.
        """
        lock = [directory] if directory >= 0 else []
        ring = self.ring.open_read_only()
        try:
            self._channel.send(messages.encode(setup), [ring, *lock])
        finally:
            descriptors.close(ring)

    def send_remarks(self, remarks: Remarks) -> bool:
        """Tell the renderer what the user was told. False: there is no room, try again."""
        try:
            return self._send(messages.encode(remarks))
        except ChannelClosed:  # the next `poll` notices it
            return False

    def send_goodbye(self) -> bool:
        """Announce the end; what is pending is still drawn and acknowledged.

        False when the renderer is so far behind that there is no room for the message: try again.
        """
        try:
            sent = self._send(messages.encode(Goodbye(self._counters.as_message(self.pending))))
        except ChannelClosed:
            self.poll()  # its last messages are still to be read
            sent = True
        if sent:
            self._channel.end_sending()
        return sent

    def poll(self) -> bool:
        """Read what has arrived and free what was acknowledged. False: the renderer is gone."""
        try:
            while (packet := self._channel.receive()) is not None:
                for descriptor in packet.descriptors:
                    descriptors.close(descriptor)
                self._handle(packet.data)
                if not self._pending:
                    break  # nothing more is to be expected
        except ChannelClosed:
            self._mark_lost()
        return not self.lost

    def wait_for_message(self, seconds: float) -> None:
        """Wait at most so long for an acknowledgement or the renderer's end, and read it."""
        self._channel.wait(seconds)
        self.poll()

    def wait_for_room(self) -> None:
        """Wait for the renderer a little. Raises `ChannelClosed` when it is gone."""
        self.wait_for_message(RETRY_SECONDS)
        self.require_renderer()

    def require_renderer(self) -> None:
        """Raise `ChannelClosed` when the renderer is gone."""
        if self.lost:
            raise ChannelClosed("the renderer is gone, or is another process's")

    @property
    def has_news(self) -> bool:
        """Whether there is something to be popped, or a refusal."""
        news = self._notices or self._verdicts or self._alerts or self.allocator.notices
        return bool(news or self.refusal)

    def pop_notices(self) -> list[tuple[str, str]]:
        """Return the new warnings for the user, as (kind, text), each once."""
        notices, self._notices = self._notices + self.allocator.notices, []
        self.allocator.notices = []
        return notices

    def pop_verdicts(self) -> list[tuple[str, str]]:
        """Return what the renderer has found of layers made on a device: (kernel, difference)."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def pop_alerts(self) -> list[Alert]:
        """Return the alerts that have changed, each once."""
        alerts, self._alerts = self._alerts, []
        return alerts

    def abandon(self) -> None:
        """Close the descriptors without a message, in a forked child or at the end."""
        self.lost = True
        self._channel.close()
        self.ring.close_descriptor()

    def _send_capture(
        self, packed: bytes, sequence: int, builder: CaptureBuilder, table: dict[int, list[Slots]]
    ) -> bool:
        """Move the builder's slots to `table` and send the message; False: no room for it."""
        self._latest_bytes = builder.nbytes
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

    def _send(self, packed: bytes) -> bool:
        """Send it, after the messages that are still unsent. False: no room, and not sent."""
        return self._flush_unsent() and self._channel.send(packed)

    def _flush_unsent(self) -> bool:
        while self._unsent:
            if not self._channel.send(self._unsent[0]):
                return False
            self._unsent.popleft()
        return True

    def _handle(self, packed: bytes) -> None:
        try:
            message = messages.decode(packed)
        except MessageError:
            return
        if isinstance(message, Refusal):
            self.refusal = message.reason
        elif isinstance(message, Acknowledgement) and message.sequence in self._pending:
            self.free(self._pending.pop(message.sequence))
            self._notices += message.notices
            self._verdicts += message.verdicts
            self._alerts += message.alerts
            self._count(message)

    def _count(self, acknowledgement: Acknowledgement) -> None:
        self._counters.add_competed(acknowledgement.competed)
        if acknowledgement.error:
            self._counters.failed_in_renderer += 1
            failure = f"a capture could not be drawn: {acknowledgement.error}"
            self._notices.append(("failed", failure))
        else:
            self._counters.rendered += 1

    def _mark_lost(self) -> None:
        """Count as failed what the renderer had not acknowledged when it ended."""
        self.lost = True
        self._channel.close()  # a supervisor that is still there sees this as its end
        self._counters.failed_in_renderer += len(self._pending)
        self._pending.clear()
        self.allocator.window.pop_all()
