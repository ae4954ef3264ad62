"""What is known of a model's layers, and where a tap has to look for them."""

import logging
from typing import Any

import pytest
import torch
from torch import nn

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import CallInfo, Discovery
from attnmon.layers.layer_numbering import LayerKey
from attnmon.layers.layer_registry import WHOLE_FORWARD_EVERY, LayerRegistry
from attnmon.layers.layer_selection import LayerSelection, attending_modules
from attnmon.layers.layout_registry import FOLLOWED_FIRST


def info(name: str, **other: Any) -> CallInfo:
    fields: dict[str, Any] = {
        "call_index": 0, "source": "softmax", "heads": 4, "queries": 8, "keys": 8, "causal": True,
    }  # fmt: skip
    return CallInfo(name, **{**fields, **other})


def calls(*names: str) -> dict[LayerKey, CallInfo]:
    return {(name, 0): info(name) for name in names}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.mlp = nn.Linear(1, 1), nn.Linear(1, 1)


class Model(nn.Module):
    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(layers))


INPUTS = (torch.zeros(2, 8, dtype=torch.long),)
LAYERS = ("blocks.0.attn", "blocks.1.attn", "blocks.2.attn")


def registry(
    layers: tuple[int | str, ...] | None = None,
    heads: tuple[int, ...] | None = None,
    roles: dict[str, str] | None = None,
) -> LayerRegistry:
    return LayerRegistry(LayerSelection(layers, heads), ErrorGuard(), lambda: roles or {})


def be_followed(known: LayerRegistry) -> None:
    for _ in range(FOLLOWED_FIRST):
        known.set_followed(known.call_infos.values(), samples=2)


def test_the_layers_asked_for_are_selected_by_their_index_in_the_role() -> None:
    known = registry(layers=(0, -1), heads=(1, 3, 7))
    known.set_calls(calls(*LAYERS))
    assert [layer.name for layer in known.selected.values()] == [LAYERS[0], LAYERS[2]]
    assert {layer.heads for layer in known.selected.values()} == {(1, 3)}, "it has four"
    last = known.selected[LAYERS[2], 0]
    assert (last.role.stack, last.role.type, last.layer) == ("decoder", "self_attention", 2)


def test_the_users_roles_come_before_our_own() -> None:
    known = registry(roles={LAYERS[0]: "encoder_self"})
    known.set_calls(calls(*LAYERS))
    assert [layer.role.stack for layer in known.selected.values()] == [
        "encoder", "decoder", "decoder",
    ]  # fmt: skip
    assert [layer.layer for layer in known.selected.values()] == [0, 0, 1]


def test_what_does_not_exist_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    known = registry(layers=(0, 9), heads=(1, 6))
    for _ in range(2):
        known.set_calls(calls(*LAYERS))
    heads, layers = (record.getMessage() for record in caplog.records)
    assert "there is no layer 9" in layers
    assert "has the heads 0 … 3" in heads


def test_the_table_says_of_every_layer_why_it_is_not_captured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = registry(layers=(0,))
    known.set_unsupported("blocks.1.odd", "a softmax that is no attention")
    with caplog.at_level(logging.INFO):
        known.set_calls(calls(*LAYERS[:2]))
    assert [(row.name, row.captured, row.why) for row in known.coverage()] == [
        (LAYERS[0], True, ""),
        (LAYERS[1], False, "not in layers_to_visualize"),
        ("blocks.1.odd", False, "a softmax that is no attention"),
    ]
    assert "decoder 1 self" in caplog.text


def test_another_model_starts_anew_and_the_same_does_not() -> None:
    known, model = registry(), Model()
    known.set_model(model)
    known.set_calls(calls(*LAYERS))
    known.set_unsupported("odd", "why")
    known.set_model(model)
    assert len(known.call_infos) == 3
    other = Model()
    known.set_model(other)
    assert (known.call_infos, known.selected, known.unsupported) == ({}, {}, {})
    assert known.model is other
    del other
    assert known.model is None, "it is the user's, and may go at any time"


def test_a_discovery_replaces_what_was_known() -> None:
    known, model = registry(), Model()
    found = Discovery(
        (info(LAYERS[0]), info(LAYERS[0], call_index=1)),
        (("odd", None, "why"),),
        batch_dim=1,
        sample=0,
        batch=4,
        compiled=True,
    )
    known.set_discovery(model, found)
    assert list(known.selected) == [(LAYERS[0], 0), (LAYERS[0], 1)], "a tied layer counts twice"
    assert (known.batch_dim, known.compiled) == (1, True)
    assert dict(known.unsupported) == {"odd": "why"}
    known.set_discovery(model, Discovery((), (), 0, 0, 4, compiled=False))
    assert known.compiled, "it was compiled once: not seeing it again proves nothing"


def test_what_the_user_gives_is_added_and_no_forward_shows_it() -> None:
    known, model = registry(), Model()
    known.set_model(model)
    known.set_calls(calls(*LAYERS[:1]))
    be_followed(known)
    known.add_calls([(("mine", 0), info("mine", source="recorded"))])
    assert [layer.name for layer in known.selected.values()] == [LAYERS[0], "mine"]
    watched = watched_modules(known, model)
    assert watched[1:3] == [list(LAYERS)] * 2, "the next forward may call those like the first"


def watched_modules(known: LayerRegistry, model: nn.Module, forwards: int = 3) -> list[list[str]]:
    """Of each forward, the modules that are tapped; none is all of it."""
    found = []
    for _ in range(forwards):
        scope = known.scope_of(model, INPUTS)
        found.append(sorted(scope.names[id(module)] for module in scope.modules))
    return found


def test_most_forwards_are_watched_where_the_model_attends_and_some_from_end_to_end() -> None:
    known, model = registry(layers=(0, 2)), Model()
    known.set_model(model)
    known.set_calls(calls(*LAYERS))
    be_followed(known)
    watched = watched_modules(known, model, WHOLE_FORWARD_EVERY + 2)
    assert watched[0] == watched[WHOLE_FORWARD_EVERY] == []
    assert watched[1] == watched[WHOLE_FORWARD_EVERY + 1] == [LAYERS[0], LAYERS[2]]


def test_a_model_whose_modules_change_is_watched_from_end_to_end() -> None:
    known, model = registry(), Model()
    known.set_model(model)
    known.set_calls(calls(*LAYERS))
    be_followed(known)
    assert watched_modules(known, model, 2)[1] == list(LAYERS)
    model.blocks.append(Block())
    assert watched_modules(known, model, 2) == [[], list(LAYERS)]
    del model.blocks[1:]
    assert watched_modules(known, model, 2) == [[], []], "not all of them are there any more"


def test_a_model_that_attends_elsewhere_too_is_always_watched_from_end_to_end() -> None:
    known, model = registry(), Model()
    known.set_model(model)
    known.set_calls(calls(*LAYERS))
    be_followed(known)
    watched_modules(known, model, 1)
    known.notice_layers(2)
    assert watched_modules(known, model, 1) == [list(LAYERS)], "all of it was watched: it changed"
    known.notice_layers(3)
    assert watched_modules(known, model, 1) == [list(LAYERS)]
    known.notice_layers(2)
    assert watched_modules(known, model) == [[], [], []]


def test_a_block_is_watched_from_end_to_end() -> None:
    known, model = registry(), Model()
    known.set_model(model)
    known.set_calls(calls(*LAYERS))
    be_followed(known)
    watched_modules(known, model, 2)
    known.watch_whole_forward()
    known.notice_layers(0)
    assert watched_modules(known, model, 1) == [list(LAYERS)], "a block says nothing of the modules"


def test_attention_inside_attention_is_watched_as_well() -> None:
    keys = [("outer", 0), ("outer.inner", 0), ("other", 0)]
    assert attending_modules(keys[:1], keys) == {"outer", "outer.inner"}
    assert attending_modules([("", 0)], keys) == frozenset(), "the model itself attends"
