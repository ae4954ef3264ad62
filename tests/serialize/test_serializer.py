"""What the serializer writes into the ring, and what its message says of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.collecting import any_call
from torch import Tensor

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import SdpaCall
from attnmon.layers.layer_numbering import parse_role
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.channel import Channel
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.training_accounts import Accounts
from attnmon.link.ring import MEBIBYTE, make_ring
from attnmon.serialize import serializer as serializer_module
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.serializer import CaptureSerializer
from attnmon.serialize.step_info import StepInfo
from attnmon.serialize.written_layers import MAX_LAYERS, MAX_OFFSETS
from attnmon.session.producer import Producer

LAYER = SelectedLayer("blocks.0", parse_role("decoder_self"), 0, (0, 1))
STEP = StepInfo(7, by_epoch=True, epoch=2, loss=0.5, lr=1e-3)


class Parts:
    def __init__(self) -> None:
        ours, self.theirs = Channel.pair()
        self.producer = Producer(make_ring(MEBIBYTE), ours, Counters())
        self.guard = ErrorGuard()
        self.serializer = CaptureSerializer(self.producer.ring, self.guard)
        self.builder = self.new_builder()

    def new_builder(self) -> CaptureBuilder:
        self.builder = self.producer.new_builder(sample=1, seen_in="forward")
        return self.builder

    def write(self, call: Any, layer: SelectedLayer = LAYER, **batch: int) -> Attention:
        self.serializer.write(layer, call, self.builder, **batch)
        return self.builder.attentions[-1]

    def read(self, block: ArrayBlock | None) -> Tensor:
        assert block is not None
        return self.serializer.ring_writer.view(block).clone()

    def close(self) -> None:
        self.producer.abandon()
        self.theirs.close()
        del self.producer, self.serializer, self.builder  # the ring is unmapped with the last view


@pytest.fixture
def parts() -> Iterator[Parts]:
    made = Parts()
    yield made
    made.close()


def test_one_sample_of_the_chosen_heads_is_written(parts: Parts) -> None:
    call = any_call("blocks.0")
    attention = parts.write(call, replace(LAYER, heads=(1,)), sample=2, samples=3)
    assert (attention.name, attention.stack, attention.layer) == ("blocks.0", "decoder", 0)
    assert (attention.heads, attention.causal, attention.shape) == ((1,), True, (1, 4, 4))
    assert call.query is not None
    assert call.key is not None
    assert torch.equal(parts.read(attention.query), call.query[2, 1:])
    assert torch.equal(parts.read(attention.key), call.key[2, 1:])


def test_the_second_time_a_layer_is_only_copied(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[str] = []
    describe = CaptureSerializer._describe_and_copy

    def noted(self: CaptureSerializer, layer: Any, call: Any, builder: Any) -> Attention:
        described.append(layer.name)
        return describe(self, layer, call, builder)

    monkeypatch.setattr(CaptureSerializer, "_describe_and_copy", noted)
    for _ in range(3):
        call = any_call("blocks.0")
        attention = parts.write(call, sample=1, samples=3)
        assert call.query is not None
        assert torch.equal(parts.read(attention.query), call.query[1])
    assert len(described) == 1
    parts.write(any_call("blocks.0", scale=0.5), sample=1, samples=3)
    parts.write(any_call("blocks.0"), replace(LAYER), sample=1, samples=3)
    assert len(described) == 3, "another scale; another selection"


def test_a_call_with_a_known_signature_needs_no_description(parts: Parts) -> None:
    query, key = torch.randn(3, 2, 4, 8), torch.randn(3, 2, 4, 8)
    call = SdpaCall("blocks.0", 0, ("signature",), query, key, None, None, 3)
    assert not parts.serializer.write_alike(LAYER, call, parts.builder, 1, 3)
    assert parts.builder.attentions == []
    parts.write(any_call("blocks.0", signature=("signature",)), sample=1, samples=3)
    assert parts.serializer.write_alike(LAYER, call, parts.builder, 1, 3)
    first, second = parts.builder.attentions
    assert torch.equal(parts.read(second.query), query[1])
    assert replace(second, query=first.query, key=first.key) == first
    assert not parts.serializer.write_alike(LAYER, call, parts.builder, 1, 5), "another batch"


def test_some_known_layers_are_checked_against_their_own_output(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serializer_module, "CHECK_EVERY", 3)
    errors = []
    for _ in range(7):
        value = torch.randn(3, 2, 4, 8)
        call = any_call("blocks.0", value=value, scale=8**-0.5)
        assert call.query is not None
        assert call.key is not None
        output = torch.nn.functional.scaled_dot_product_attention(
            call.query, call.key, value, is_causal=True
        )
        errors.append(parts.write(replace(call, output=output), sample=1, samples=3).error)
    assert [error is not None for error in errors] == [True, False, True, False, False, True, False]
    assert all(error is None or error < 1e-5 for error in errors)


def test_layers_with_equal_masks_share_one(parts: Parts) -> None:
    masks = [torch.zeros(3, 1, 4, 4) for _ in range(3)]
    masks[2][1, 0, 0, 0] = 1.0
    blocks = [
        parts.write(any_call("blocks.0", bias=mask), sample=1, samples=3).bias for mask in masks
    ]
    assert blocks[0] == blocks[1] != blocks[2]
    assert torch.equal(parts.read(blocks[2]), masks[2][1])
    assert len(parts.builder.masks) == 2
    parts.new_builder()
    again = parts.write(any_call("blocks.0", bias=masks[0]), sample=1, samples=3)
    assert again.bias not in blocks, "another capture's slots may be gone by then"


def test_an_attention_without_positions_is_refused(parts: Parts) -> None:
    empty = torch.zeros(3, 2, 0, 8)
    with pytest.raises(ValueError, match=r"blocks\.0 is empty: 0 queries and 0 keys"):
        parts.write(any_call("blocks.0", query=empty, key=empty), sample=1, samples=3)
    assert parts.builder.attentions == []


def test_the_cache_of_written_is_bounded(parts: Parts) -> None:
    for number in range(MAX_LAYERS + 2):
        if number % 50 == 0:
            parts.builder.discard()
        parts.write(any_call("blocks.0", signature=(number,)), sample=1, samples=3)
    assert len(parts.serializer._written) == 2
    parts.builder.discard()
    for _ in range(2 * MAX_OFFSETS):
        parts.write(any_call("blocks.0", signature=(number,)), sample=1, samples=3)
    assert len(parts.serializer._written[number,]._at_offset) <= MAX_OFFSETS


# The message


def test_the_message_says_what_was_logged_and_written(parts: Parts) -> None:
    parts.write(any_call("blocks.0"), sample=1, samples=3)
    tokens = list("abcd")
    info = replace(STEP, loss=torch.tensor(0.25, requires_grad=True), tokens=tokens)
    message = parts.serializer.message(5, info, parts.builder, Accounts(captured=3))
    assert (message.sequence, message.step, message.epoch, message.by_epoch) == (5, 7, 2, True)
    assert (message.loss, message.lr, message.accounts.captured) == (0.25, 1e-3, 3)
    assert (message.sample, message.seen_in) == (1, "forward")
    assert message.slots == tuple(parts.builder.slots)
    assert message.attentions == tuple(parts.builder.attentions)
    assert (message.encoder_tokens, message.decoder_tokens) == ((), tuple(tokens))


@pytest.mark.parametrize(
    ("wrong", "warning"),
    [
        ({"loss": "low"}, "loss: give one number"),
        ({"loss": torch.zeros(2)}, "loss: give one number"),
        ({"loss": float("nan")}, "the loss is nan at step 7"),
        ({"lr": "1e-3 or so"}, "lr: give one number"),
        ({"tokens": ["one"]}, "The axes show positions instead"),
        ({"tokens": 7}, "give a list of strings"),
    ],
    ids=str,
)
def test_what_is_wrong_with_the_rest_costs_no_capture(
    wrong: dict[str, Any], warning: str, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.write(any_call("blocks.0"), sample=1, samples=3)
    for _ in range(2):
        message = parts.serializer.message(0, replace(STEP, **wrong), parts.builder, Accounts())
    assert len(message.attentions) == 1
    [record] = caplog.records
    assert warning in record.getMessage()
