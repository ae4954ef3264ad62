"""A draft's layers lie side by side, and only in slots that are lent to it."""

from collections.abc import Iterator

import pytest

from attnmon.accounting.counters import Counters
from attnmon.link.channel import Channel
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.ring import SLOT_BYTES, make_ring
from attnmon.session.producer import Producer


@pytest.fixture
def producer() -> Iterator[Producer]:
    ours, theirs = Channel.pair()
    producer = Producer(make_ring(8 * SLOT_BYTES), ours, Counters())
    yield producer
    producer.abandon()
    theirs.close()
    producer.ring.memory.close()


def test_small_layers_share_a_slot_and_begin_where_a_cache_line_does(producer: Producer) -> None:
    with producer.new_builder() as builder:
        offsets = [builder.reserve(nbytes) for nbytes in (1000, 24, SLOT_BYTES - 1088)]
        assert offsets == [0, 1024, 1088]
        assert builder.slots == [Slots(0, 1)], "it is full to the last byte"
        assert builder.reserve(1) == SLOT_BYTES
    assert producer.allocator.pool.free_count == 8


def test_what_a_long_layer_leaves_of_its_last_slot_is_used(producer: Producer) -> None:
    with producer.new_builder() as builder:
        assert builder.reserve(2 * SLOT_BYTES + 1) == 0
        assert builder.reserve(SLOT_BYTES - 64) == 2 * SLOT_BYTES + 64
        assert builder.reserve(SLOT_BYTES + 1) == 3 * SLOT_BYTES
        assert builder.slots == [Slots(0, 3), Slots(3, 2)]


def test_nothing_is_lent_of_slots_that_were_given_away(producer: Producer) -> None:
    builder = producer.new_builder()
    builder.reserve(100)
    announced, builder.slots = builder.slots, []
    assert builder.reserve(100) == SLOT_BYTES, "the rest of the first slot is the renderer's"
    builder.discard()
    assert builder.reserve(100) == SLOT_BYTES
    assert producer.allocator.pool.free_count == 6
    producer.free(announced)
    builder.discard()
    assert producer.allocator.pool.free_count == 8


def test_a_detached_capture_outlives_the_block_it_was_made_in(producer: Producer) -> None:
    with producer.new_builder(sample=3, seen_in="forward", retained=True) as builder:
        assert builder.reserve(100) == 0
        detached = builder.detach()
    assert producer.allocator.pool.free_count == 7, "its slot is not freed with the block"
    assert (detached.sample, detached.seen_in, detached.retained) == (3, "forward", True)
    assert detached.reserve(100) == 128, "it goes on where it was"
    detached.discard()
    assert producer.allocator.pool.free_count == 8


def test_an_error_in_the_block_frees_the_slots(producer: Producer) -> None:
    builder = producer.new_builder()

    def collect() -> None:
        with builder:
            builder.reserve(3 * SLOT_BYTES)
            raise KeyError

    with pytest.raises(KeyError):
        collect()
    assert producer.allocator.pool.free_count == 8
    assert (builder.slots, builder.attentions, builder.masks) == ([], [], [])
