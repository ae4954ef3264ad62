"""A draft's layers lie side by side, and only in slots that are lent to it."""

from collections.abc import Iterator

import pytest

from attnmon.accounting.counters import Counters
from attnmon.link.channel import Channel
from attnmon.link.messages import Slots
from attnmon.link.ring import SLOT_BYTES, make_ring
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.session.producer import Producer


@pytest.fixture
def outbox() -> Iterator[Producer]:
    ours, theirs = Channel.pair()
    outbox = Producer(make_ring(8 * SLOT_BYTES), ours, Counters())
    yield outbox
    outbox.forget()
    theirs.close()
    outbox.ring.memory.close()


def test_small_layers_share_a_slot_and_begin_where_a_cache_line_does(outbox: Producer) -> None:
    with outbox.draft() as draft:
        offsets = [draft.lend(nbytes) for nbytes in (1000, 24, SLOT_BYTES - 1088)]
        assert offsets == [0, 1024, 1088]
        assert draft.slots == [Slots(0, 1)], "it is full to the last byte"
        assert draft.lend(1) == SLOT_BYTES
    assert outbox.room.pool.free == 8


def test_what_a_long_layer_leaves_of_its_last_slot_is_used(outbox: Producer) -> None:
    with outbox.draft() as draft:
        assert draft.lend(2 * SLOT_BYTES + 1) == 0
        assert draft.lend(SLOT_BYTES - 64) == 2 * SLOT_BYTES + 64
        assert draft.lend(SLOT_BYTES + 1) == 3 * SLOT_BYTES
        assert draft.slots == [Slots(0, 3), Slots(3, 2)]


def test_nothing_is_lent_of_slots_that_were_given_away(outbox: Producer) -> None:
    draft = outbox.draft()
    draft.lend(100)
    announced, draft.slots = draft.slots, []
    assert draft.lend(100) == SLOT_BYTES, "the rest of the first slot is the renderer's"
    draft.discard()
    assert draft.lend(100) == SLOT_BYTES
    assert outbox.room.pool.free == 6
    outbox.take_back(announced)
    draft.discard()
    assert isinstance(draft.emptied(), CaptureBuilder)
    assert outbox.room.pool.free == 8
