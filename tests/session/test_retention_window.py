"""The window of steps that are kept: what the renderer may still read is never written over."""

import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.messages import CAPTURE, LAYER

from attnmon.accounting.counters import Counters
from attnmon.link import messages
from attnmon.link.channel import Channel
from attnmon.link.messages import Capture, Dump, Release
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.schema import LIMIT
from attnmon.link.ring import SLOT_BYTES, make_ring
from attnmon.serialize.capture_builder import NoRoomToRetain, RingFull, TooLarge
from attnmon.session.producer import Producer
from attnmon.session.retention_window import RetentionWindow, count_slots
from attnmon_renderer.supervision.retained_captures import REMEMBERED, RetainedCaptures

RING_SLOTS = 16
KEEP_LAST = 5


def kept(sequence: int, retained_from: int) -> Capture:
    return replace(CAPTURE, sequence=sequence, step=sequence, retained_from=retained_from)


def test_the_window_holds_what_it_is_told_to() -> None:
    window = RetainedCaptures()
    for sequence, retained_from in ((3, 3), (5, 3), (6, 5), (9, 5)):
        window.add(kept(sequence, retained_from))
    assert list(window) == [5, 6, 9]
    window.release(6)
    assert list(window) == [6, 9]


def test_what_is_wanted_leaves_the_window_with_the_reason() -> None:
    window = RetainedCaptures()
    window.add(kept(3, 3))
    window.add(kept(4, 3))
    drawn = window.dump((3, 4, 7), "why", step=4)
    assert list(drawn) == [3, 4, 7], "in the order of the steps"
    first = messages.decode(drawn[3] or b"")
    assert first == replace(kept(3, 3), retained_from=None, dump_reason="why")
    assert drawn[7] is None, "it never came, and that is said"
    assert len(window) == 0
    assert (window.dumps[0].reason, window.dumps[0].count) == ("why", 3)


def test_a_message_without_room_for_the_reason_is_drawn_without_it() -> None:
    capture = replace(kept(3, 3), encoder_tokens=("x" * 65,) * ((LIMIT - 700) // 67))
    assert LIMIT - 1000 < len(messages.encode(capture)) < LIMIT
    window = RetainedCaptures()
    window.add(capture)
    packed = window.dump((3,), "why " * 1000, step=3)[3]
    assert messages.decode(packed or b"") == replace(capture, retained_from=None)


def test_dumps_without_end_are_not_all_remembered() -> None:
    window = RetainedCaptures()
    for n in range(REMEMBERED + 5):
        window.dump((), f"{n}", step=n)
    assert [dump.reason for dump in window.dumps] == [f"{n}" for n in range(5, REMEMBERED + 5)]


def test_as_many_are_kept_as_fit_and_as_were_asked_for() -> None:
    window = RetentionWindow(limit=4, ring_slots=20)
    for sequence in range(3):
        window.slots_of[sequence] = [Slots(3 * sequence, 3)]
        window.slot_count += 3
    assert window.oldest_beside(3, [Slots(9, 1)]) == 0, "four, and ten slots"
    assert window.oldest_beside(3, [Slots(9, 2)]) == 1
    assert window.oldest_beside(3, [Slots(9, 7)]) == 2
    assert window.oldest_beside(3, [Slots(9, 9)]) == 3
    window.slots_of[3] = [Slots(9, 1)]
    window.slot_count += 1
    assert window.oldest_beside(4, [Slots(10, 1)]) == 1, "four were asked for"
    assert [window.capacity([Slots(0, n)]) for n in (1, 3, 6, 11)] == [4, 3, 1, 0]


class Trainings:
    """The training process's end, and a renderer that only listens; both ends are real."""

    def __init__(self, seed: int) -> None:
        self.ours, self.theirs = Channel.pair()
        self.ring = make_ring(RING_SLOTS * SLOT_BYTES)
        self.counters = Counters()
        self.producer = Producer(
            self.ring, self.ours, self.counters, wait=seed < 0, keep_last=KEEP_LAST
        )
        self.chance = random.Random(seed)
        self.window = RetainedCaptures()
        self.drawing: dict[int, Capture] = {}
        self.sequence = 0
        self.most_kept = 0
        self.hears = True

    def capture(self, *, due: bool, slots: int) -> bool:
        """One step: copy, then announce. The process might die at any moment in between."""
        tag = self.sequence
        with self.producer.new_builder(retained=not due) as builder:
            try:
                offset = builder.reserve(slots * SLOT_BYTES)
                self.ring.memory[offset : offset + slots * SLOT_BYTES] = self.content(tag, slots)
                self.look()
                block = ArrayBlock(offset, "uint8", (1, slots, SLOT_BYTES))
                layer = replace(LAYER, heads=(0,), query=block, key=block, bias=None)
                capture = replace(
                    CAPTURE, sequence=tag, step=tag, slots=tuple(builder.slots), attentions=(layer,)
                )
                if due:
                    self.producer.announce(capture, builder)
                else:
                    self.producer.retain(capture, builder)
            except NoRoomToRetain:
                return due  # which is never said of a due one
            except RingFull:
                return not due
        self.sequence += 1
        return True

    def content(self, tag: int, slots: int) -> bytes:
        return bytes([tag % 251]) * (slots * SLOT_BYTES)

    def listen(self) -> None:
        while self.hears and (packet := self.theirs.receive()) is not None:
            message = messages.decode(packet.data)
            if isinstance(message, Capture) and message.retained_from is not None:
                self.window.add(message)
            elif isinstance(message, Capture):
                self.drawing[message.sequence] = message
            elif isinstance(message, Release):
                self.window.release(message.before)
            elif isinstance(message, Dump):
                self._draw(message)

    def _draw(self, dump: Dump) -> None:
        for sequence, packed in self.window.dump(dump.sequences, "", None).items():
            assert packed is not None, "both books are the same"
            capture = messages.decode(packed)
            assert isinstance(capture, Capture)
            self.drawing[sequence] = capture

    def fill_the_socket(self) -> None:
        """With what is kept, until there is no room for more."""
        self.ours._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2304)
        self.hears = False
        while self.capture(due=False, slots=1):
            assert self.sequence < 1000

    def look(self) -> None:
        """If the training process died now: all that could be drawn is what was captured."""
        self.listen()
        self.most_kept = max(self.most_kept, len(self.window))
        for capture in (*self.window._kept.values(), *self.drawing.values()):
            [block] = {block for layer in capture.attentions for block in layer.blocks}
            found = self.ring.memory[block.offset : block.offset + block.nbytes]
            assert found == self.content(capture.sequence, block.shape[1]), capture.sequence

    def acknowledge(self) -> None:
        if self.drawing:
            sequence = self.chance.choice(list(self.drawing))
            del self.drawing[sequence]
            self.theirs.send(messages.encode(messages.Acknowledgement(sequence)))
        self.producer.poll()

    def close(self) -> None:
        self.producer.abandon()
        self.theirs.close()
        self.ring.memory.close()


@pytest.fixture
def trainings(request: pytest.FixtureRequest) -> Iterator[Trainings]:
    made = Trainings(getattr(request, "param", 0))
    yield made
    made.close()


@pytest.mark.parametrize("trainings", range(8), indirect=True)
def test_nothing_that_could_be_drawn_is_ever_written_over(trainings: Trainings) -> None:
    """Whatever is kept, due, wanted or acknowledged, and whenever the training process dies."""
    chance, seen = trainings.chance, 0
    for _ in range(150):
        does = chance.random()
        if does < 0.65:
            seen += trainings.capture(due=False, slots=chance.choice((1, 1, 2, 3)))
        elif does < 0.8:
            trainings.capture(due=True, slots=chance.choice((1, 2, 5, 9)))
        elif does < 0.95:
            trainings.acknowledge()
        else:
            trainings.producer.dump("why")
        if chance.random() < 0.5:
            trainings.look()
    trainings.look()
    assert list(trainings.window) == list(trainings.producer.allocator.window.slots_of)
    assert trainings.producer.pending == len(trainings.drawing)
    window = trainings.producer.allocator.window
    assert window.slot_count == sum(map(count_slots, window.slots_of.values()))
    assert seen > 50
    assert 2 <= trainings.most_kept <= KEEP_LAST


def test_what_is_kept_makes_room_for_a_step_that_is_due_at_once(trainings: Trainings) -> None:
    for _ in range(4):
        assert trainings.capture(due=False, slots=2)
    with trainings.producer.new_builder() as due:
        for _ in range(12):
            due.reserve(SLOT_BYTES)  # more than the other half of the ring
        trainings.look()
        assert list(trainings.window) == [2, 3], "the oldest made room"
        with pytest.raises(TooLarge):
            due.reserve(5 * SLOT_BYTES)
    trainings.look()
    assert list(trainings.window) == [2, 3], "what would not help is not given up"


def test_the_window_goes_on_in_its_own_room_while_the_renderer_is_behind(
    trainings: Trainings,
) -> None:
    assert trainings.capture(due=True, slots=12)
    for _ in range(9):
        assert trainings.capture(due=False, slots=1)
    trainings.look()
    assert list(trainings.window) == [6, 7, 8, 9]


def test_a_renderer_that_does_not_listen_hears_a_dump_before_all_that_follows(
    trainings: Trainings,
) -> None:
    trainings.fill_the_socket()
    trainings.producer.dump("why")
    wanted = trainings.producer.pending
    assert trainings.counters.captured == wanted == min(trainings.sequence, KEEP_LAST)
    assert not trainings.capture(due=False, slots=1), "it would come before the dump"
    trainings.hears = True
    trainings.look()
    assert trainings.capture(due=False, slots=1)
    trainings.look()
    assert len(trainings.drawing) == wanted
    assert list(trainings.window) == [trainings.sequence - 1]


@pytest.mark.parametrize("trainings", [-1], indirect=True)
def test_those_who_wait_do_so_also_for_a_renderer_that_owes_no_answer(
    trainings: Trainings,
) -> None:
    """Its socket is full of what is kept, which is never acknowledged."""
    trainings.fill_the_socket()
    trainings.hears = True
    listens = threading.Timer(0.3, trainings.listen)
    listens.start()
    with trainings.producer.new_builder() as builder:
        for _ in range(RING_SLOTS):
            builder.reserve(SLOT_BYTES)
    listens.join()
    trainings.look()
    assert list(trainings.window) == list(trainings.producer.allocator.window.slots_of) == []
