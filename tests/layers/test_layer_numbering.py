"""Roles and indices, from nothing but what one forward showed."""

import pytest
from torch import nn

from attnmon.capture.calls.call_info import CallInfo
from attnmon.layers.layer_numbering import ROLES, Role, number_layers
from attnmon.layers.module_order import ModuleOrder

Given = tuple[str, int, int, bool]


def named_roles(
    seen: list[Given], overrides: dict[str, str | Role] | None = None
) -> dict[str, tuple[str, int]]:
    """name → (the role's name, index); seen: (name, queries, keys, causal)."""
    call_infos = [CallInfo(name, 0, "softmax", 4, q, k, causal) for name, q, k, causal in seen]
    by_role = {role: name for name, role in ROLES.items()}
    positions = number_layers(call_infos, overrides).positions
    return {name: (by_role[at.role], at.layer) for (name, _), at in positions.items()}


MODELS: dict[str, list[tuple[Given, tuple[str, int]]]] = {
    "nn.Transformer, as long as each other": [
        (("encoder.layers.0.self_attn", 6, 6, False), ("encoder_self", 0)),
        (("encoder.layers.1.self_attn", 6, 6, False), ("encoder_self", 1)),
        (("decoder.layers.0.self_attn", 6, 6, True), ("decoder_self", 0)),
        (("decoder.layers.0.multihead_attn", 6, 6, False), ("decoder_cross", 0)),
        (("decoder.layers.1.self_attn", 6, 6, True), ("decoder_self", 1)),
        (("decoder.layers.1.multihead_attn", 6, 6, False), ("decoder_cross", 1)),
    ],
    "nn.TransformerDecoderLayer by itself, without a mask": [
        (("self_attn", 6, 6, False), ("encoder_self", 0)),
        (("multihead_attn", 6, 6, False), ("decoder_cross", 0)),
    ],
    "an encoder whose own attention is called multihead_attn": [
        (("layers.0.multihead_attn", 6, 6, False), ("encoder_self", 0)),
    ],
    "nn.TransformerEncoder as a language model": [
        (("transformer_encoder.layers.0.self_attn", 6, 6, True), ("decoder_self", 0)),
    ],
    "a causal encoder beside a decoder": [
        (("encoder.layers.0.self_attn", 6, 6, True), ("encoder_self", 0)),
        (("decoder.layers.0.self_attn", 6, 6, True), ("decoder_self", 0)),
        (("decoder.layers.0.cross_attn", 6, 6, False), ("decoder_cross", 0)),
    ],
    "T5": [
        (("encoder.block.0.layer.0.SelfAttention", 6, 6, False), ("encoder_self", 0)),
        (("decoder.block.0.layer.0.SelfAttention", 5, 5, True), ("decoder_self", 0)),
        (("decoder.block.0.layer.1.EncDecAttention", 5, 6, False), ("decoder_cross", 0)),
    ],
    "BART": [
        (("model.encoder.layers.0.self_attn", 6, 6, False), ("encoder_self", 0)),
        (("model.decoder.layers.0.self_attn", 6, 6, True), ("decoder_self", 0)),
        (("model.decoder.layers.0.encoder_attn", 6, 6, False), ("decoder_cross", 0)),
    ],
    "two BERTs": [
        (("encoder.encoder.layer.0.attention.self", 6, 6, False), ("encoder_self", 0)),
        (("decoder.bert.encoder.layer.0.attention.self", 6, 6, True), ("decoder_self", 0)),
        (("decoder.bert.encoder.layer.0.crossattention.self", 6, 6, False), ("decoder_cross", 0)),
    ],
    "a decoder that is not causal": [(("dec.0.attn", 6, 6, False), ("decoder_self", 0))],
    "GPT-2": [(("transformer.h.0.attn", 6, 6, True), ("decoder_self", 0))],
    "ViT": [(("blocks.0.attn", 6, 6, False), ("encoder_self", 0))],
    "a cache of keys": [(("h.0.attn", 1, 9, True), ("decoder_self", 0))],
    "pooled keys, self by name": [
        (("segformer.encoder.block.0.0.attention.self", 64, 4, False), ("encoder_self", 0)),
    ],
    "lengths alone do not make it cross": [
        (("a", 5, 5, False), ("encoder_self", 0)),
        (("b", 5, 9, False), ("encoder_self", 1)),
    ],
    "diffusers": [
        (("down.0.attn1", 16, 16, False), ("encoder_self", 0)),
        (("down.0.attn2", 16, 16, False), ("decoder_cross", 0)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_roles_of(model: list[tuple[Given, tuple[str, int]]]) -> None:
    assert named_roles([seen for seen, _ in model]) == {seen[0]: want for seen, want in model}


def test_overrides_win_and_the_first_pattern_of_them() -> None:
    seen: list[Given] = [("blocks.0.attn", 6, 6, True), ("blocks.1.attn", 6, 6, True)]
    overrides: dict[str, str | Role] = {"*.1.*": "decoder_cross", "*": ROLES["encoder_self"]}
    assert named_roles(seen, overrides) == {
        "blocks.0.attn": ("encoder_self", 0),
        "blocks.1.attn": ("decoder_cross", 0),
    }


def test_an_unknown_role_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="choose one of encoder_self, decoder_self, decoder_cross"):
        number_layers([], {"*": "decoder"})


def test_each_call_of_a_tied_layer_is_a_layer_of_its_own() -> None:
    tied = [CallInfo("attn", call, "softmax", 4, 6, 6, False) for call in range(3)]
    layers = [position.layer for position in number_layers(tied).positions.values()]
    assert layers == [0, 1, 2]


class Blocks(nn.Module):
    """Five blocks of one class, and an odd one among them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(1, 1) for _ in range(5))
        self.blocks.insert(2, nn.Identity())


def seen_calls(*names: str, calls: int = 1) -> list[CallInfo]:
    return [CallInfo(n, i, "softmax", 4, 6, 6, False) for n in names for i in range(calls)]


def test_layers_that_are_skipped_keep_their_numbers() -> None:
    order = ModuleOrder.of(Blocks())
    numbering = number_layers(seen_calls("blocks.4", "blocks.1"), order=order)
    numbers = {name: position.layer for (name, _), position in numbering.positions.items()}
    assert numbers == {"blocks.1": 1, "blocks.4": 3}, "the odd one is no layer"
    assert list(numbering.totals.values()) == [5]


def test_several_calls_of_a_module_are_numbered_in_its_place() -> None:
    order = ModuleOrder.of(Blocks())
    numbering = number_layers(seen_calls("blocks.3", "blocks.0", calls=2), order=order)
    numbers = {key: position.layer for key, position in numbering.positions.items()}
    assert numbers == {
        ("blocks.0", 0): 0, ("blocks.0", 1): 1, ("blocks.3", 0): 4, ("blocks.3", 1): 5,
    }  # fmt: skip


def test_a_layer_keeps_the_number_that_it_had() -> None:
    order, first = ModuleOrder.of(Blocks()), seen_calls("blocks.1")
    known = number_layers(first).positions
    assert known["blocks.1", 0].layer == 0
    later = number_layers([*first, *seen_calls("blocks.0")], order=order, known=known)
    numbers = {name: position.layer for (name, _), position in later.positions.items()}
    assert numbers == {"blocks.1": 0, "blocks.0": 5}, "0 is taken, and 5 is the next that is not"


@pytest.mark.parametrize(
    ("is_cross", "name", "role"),
    [
        (True, "a", "decoder_cross"),
        (False, "cross_attn", "encoder_self"),
        (None, "cross_attn", "decoder_cross"),
        (None, "a", "encoder_self"),
    ],
)
def test_where_the_keys_come_from_decides_before_the_name(
    is_cross: bool | None, name: str, role: str
) -> None:
    info = CallInfo(name, 0, "softmax", 4, 5, 9, False, is_cross=is_cross)
    assert number_layers([info]).positions[name, 0].role == ROLES[role]
