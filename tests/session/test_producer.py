"""The producer against a channel in memory: what is sent when, and who holds which slots."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.messages import CAPTURE

from attnmon.accounting.counters import Counters
from attnmon.link import messages
from attnmon.link.channel import ChannelClosed, Packet
from attnmon.link.messages import Acknowledgement, Capture, Dump, Goodbye, Message, Refusal, Release
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.records.schema import MessageError
from attnmon.link.ring import SLOT_BYTES, make_ring
from attnmon.serialize.capture_builder import CaptureBuilder, NoRoomToRetain, RingFull
from attnmon.session.producer import Producer

SLOTS = 8


class FakeChannel:
    """Keeps what is sent, has room for as much as a test says, and gives what it is handed."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.descriptors: list[int] = []
        self.room = 100
        self.inbox: list[Packet] = []
        self.closed_by_renderer = False
        self.log: list[str] = []

    def send(self, data: bytes, descriptors: list[int] | None = None) -> bool:
        if self.closed_by_renderer:
            raise ChannelClosed
        if len(self.sent) >= self.room:
            return False
        self.sent.append(messages.decode(data))
        self.descriptors += descriptors or []
        return True

    def receive(self) -> Packet | None:
        if self.inbox:
            return self.inbox.pop(0)
        if self.closed_by_renderer:
            raise ChannelClosed
        return None

    def wait(self, seconds: float | None = None) -> None:
        self.log.append("wait")
        self.room += 1

    def end_sending(self) -> None:
        self.log.append("end of sending")

    def close(self) -> None:
        self.log.append("close")

    def acknowledge(self, sequence: int, error: str = "") -> None:
        self.give(messages.encode(Acknowledgement(sequence, error)))

    def give(self, data: bytes, *descriptors: int) -> None:
        self.inbox.append(Packet(data, descriptors))


class Parts:
    """A producer with its channel and counters."""

    def __init__(self, *, wait: bool = False, keep_last: int = 0) -> None:
        self.channel, self.counters = FakeChannel(), Counters()
        self.ring = make_ring(SLOTS * SLOT_BYTES)
        self.producer = Producer(
            self.ring,
            self.channel,  # type: ignore[arg-type]
            self.counters,
            wait=wait,
            keep_last=keep_last,
        )

    @property
    def free(self) -> int:
        return self.producer.allocator.pool.free_count

    def capture(self, sequence: int, slots: int = 1, *, retain: bool = False) -> CaptureBuilder:
        with self.producer.new_builder(retained=retain) as builder:
            builder.reserve(slots * SLOT_BYTES)
            message = replace(CAPTURE, sequence=sequence, slots=tuple(builder.slots))
            if retain:
                self.producer.retain(message, builder)
            else:
                self.producer.announce(message, builder)
        return builder

    def close(self) -> None:
        self.producer.abandon()
        self.ring.memory.close()


@pytest.fixture
def parts(request: pytest.FixtureRequest) -> Iterator[Parts]:
    made = Parts(**getattr(request, "param", {}))
    yield made
    made.close()


def test_an_announced_capture_is_the_renderers_until_it_acknowledges(parts: Parts) -> None:
    builder = parts.capture(5, slots=3)
    assert builder.slots == [], "the end of the block must not free them"
    assert (parts.free, parts.producer.pending, parts.producer.is_pending(5)) == (5, 1, True)
    parts.channel.acknowledge(5)
    assert parts.producer.poll()
    assert (parts.free, parts.producer.pending, parts.producer.is_pending(5)) == (8, 0, False)
    assert (parts.counters.rendered, parts.counters.failed_in_renderer) == (1, 0)


def test_a_failure_is_counted_and_told_once(parts: Parts) -> None:
    parts.capture(0)
    parts.channel.acknowledge(0, "no space left")
    parts.channel.acknowledge(0, "again")
    parts.producer.poll()
    assert (parts.counters.rendered, parts.counters.failed_in_renderer, parts.free) == (0, 1, 8)
    notice = ("failed", "a capture could not be drawn: no space left")
    assert parts.producer.pop_notices() == [notice]
    assert parts.producer.pop_notices() == []


def test_a_capture_that_the_channel_has_no_room_for_keeps_its_slots(parts: Parts) -> None:
    parts.channel.room = 0
    with pytest.raises(RingFull):
        parts.capture(0, slots=4)
    assert (parts.free, parts.producer.pending) == (8, 0), "freed by the builder's block"


@pytest.mark.parametrize("parts", [{"wait": True}], indirect=True)
def test_those_who_asked_for_it_wait_for_the_channel(parts: Parts) -> None:
    parts.channel.room = 0
    parts.capture(0)
    assert parts.channel.log == ["wait"]
    assert parts.producer.pending == 1


def test_a_message_that_is_too_long_costs_that_capture_alone(parts: Parts) -> None:
    with parts.producer.new_builder() as builder:
        builder.reserve(1)
        huge = replace(CAPTURE, encoder_tokens=("x" * 1000,) * 1100)
        with pytest.raises(MessageError):
            parts.producer.announce(huge, builder)
    assert parts.free == 8


@pytest.mark.parametrize("parts", [{"keep_last": 2}], indirect=True)
def test_a_retained_capture_is_named_and_releases_the_oldest(parts: Parts) -> None:
    for sequence in range(3):
        parts.capture(sequence, retain=True)
    sent = [message for message in parts.channel.sent if isinstance(message, Capture)]
    assert [message.retained_from for message in sent] == [0, 0, 1]
    assert (parts.free, parts.producer.pending) == (6, 0)
    assert list(parts.producer.allocator.window.slots_of) == [1, 2]
    parts.channel.room = 3
    with pytest.raises(NoRoomToRetain):
        parts.capture(3, retain=True)
    assert list(parts.producer.allocator.window.slots_of) == [1, 2], "as the renderer was told"
    assert parts.free == 6


@pytest.mark.parametrize("parts", [{"keep_last": 4}], indirect=True)
def test_a_due_capture_evicts_by_a_message_that_comes_first(parts: Parts) -> None:
    parts.capture(0, slots=4)
    for sequence in range(1, 5):
        parts.capture(sequence, retain=True)
    parts.capture(5, slots=2)
    *_, release, last_release, capture = parts.channel.sent
    assert (release, last_release) == (Release(2), Release(3))
    assert isinstance(capture, Capture)
    assert (capture.sequence, capture.slots) == (5, (Slots(4, 2),))
    assert list(parts.producer.allocator.window.slots_of) == [3, 4]


@pytest.mark.parametrize("parts", [{"keep_last": 4}], indirect=True)
def test_a_dump_makes_what_is_retained_count(parts: Parts) -> None:
    for sequence in range(2):
        parts.capture(sequence, retain=True)
    parts.producer.dump("why")
    dump = parts.channel.sent[-1]
    assert isinstance(dump, Dump)
    assert (dump.reason, dump.sequences, dump.accounts.captured) == ("why", (0, 1), 2)
    assert (parts.producer.pending, parts.counters.captured) == (2, 2)
    parts.channel.acknowledge(1)
    parts.producer.poll()
    assert (parts.producer.pending, parts.free) == (1, 7)


@pytest.mark.parametrize("parts", [{"keep_last": 4}], indirect=True)
def test_nothing_overtakes_a_dump_that_there_was_no_room_for(parts: Parts) -> None:
    parts.capture(0, retain=True)
    parts.channel.room = 1
    parts.producer.dump("why")
    with pytest.raises(RingFull):
        parts.capture(1)
    parts.channel.room = 100
    parts.capture(2)
    assert [type(message) for message in parts.channel.sent] == [Capture, Dump, Capture]


def test_without_the_renderer_what_it_held_has_failed(parts: Parts) -> None:
    for sequence in range(3):
        parts.capture(sequence)
    parts.channel.acknowledge(1)
    parts.producer.poll()
    parts.channel.closed_by_renderer = True
    assert not parts.producer.poll()
    assert parts.producer.lost
    assert (parts.producer.pending, parts.counters.failed_in_renderer) == (0, 2)
    with pytest.raises(ChannelClosed):
        parts.capture(3)


def test_a_capture_during_which_the_renderer_ends_keeps_its_slots(parts: Parts) -> None:
    with parts.producer.new_builder() as builder:
        builder.reserve(1)
        parts.channel.closed_by_renderer = True
        with pytest.raises(ChannelClosed):
            parts.producer.announce(CAPTURE, builder)
        assert builder.slots == [Slots(0, 1)]
    assert (parts.free, parts.producer.pending) == (8, 0)


def test_a_refusal_is_kept_and_nonsense_ignored(parts: Parts) -> None:
    parts.capture(0)
    read, write = os.pipe()
    parts.channel.give(b"\xc1", read)
    parts.channel.give(messages.encode(Goodbye(Counters().as_message(0))))
    parts.channel.give(messages.encode(Refusal("no such folder")))
    assert parts.producer.poll()
    assert (parts.producer.refusal, parts.producer.pending) == ("no such folder", 1)
    with pytest.raises(BrokenPipeError):
        os.write(write, b"the descriptor that came along is closed")
    os.close(write)


def test_the_end_is_said_when_there_is_room_for_it(parts: Parts) -> None:
    parts.channel.room = 0
    assert not parts.producer.send_goodbye()
    assert parts.channel.log == []
    parts.channel.room = 1
    assert parts.producer.send_goodbye()
    assert isinstance(parts.channel.sent[-1], Goodbye)
    assert parts.channel.log == ["end of sending"]


def test_the_end_needs_no_renderer(parts: Parts) -> None:
    parts.channel.closed_by_renderer = True
    assert parts.producer.send_goodbye()
    assert parts.producer.lost


def test_an_abandoned_producer_sends_nothing(parts: Parts) -> None:
    parts.producer.abandon()
    assert parts.ring.descriptor == -1
    with pytest.raises(ChannelClosed):
        parts.producer.allocate(1)
    assert (parts.channel.sent, parts.channel.log) == ([], ["close"])
