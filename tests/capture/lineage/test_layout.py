"""Which sample and head a map is of, in the ways people fold them: against maps made one by one."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon.capture import AttentionCall, CallInfo, Inputs, Tap, module_names
from attnmon.capture.calls.kernel_shapes import KernelShapes, assumption_note
from attnmon.capture.calls.verification import attention_weights
from attnmon.capture.layouts import FollowedLayouts, KnownLayouts
from attnmon.capture.lineage.layout import Layout
from attnmon.layers.layout_registry import FOLLOWED_FIRST, LayoutRegistry

BATCH, LENGTH, HEADS, EACH, WIDTH = 3, 6, 4, 5, 10
Fold = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Folded(nn.Module):
    """Attention whose queries and keys are folded by a function given to it."""

    def __init__(self, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, HEADS * EACH)
        self.key = nn.Linear(WIDTH, HEADS * EACH)
        self.attend = attend

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(self, x)


def by_hand(model: Folded, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """[heads, queries, keys] of one sample [positions, width], in float64."""
    query, key = (
        (x.double() @ layer.weight.double().T + layer.bias.double()).unflatten(-1, (HEADS, EACH))
        for layer in (model.query, model.key)
    )
    logits = torch.einsum("nhd,mhd->hnm", query, key) / math.sqrt(EACH)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    return logits.softmax(-1).detach()


def fused(fold: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def attend(model: Folded, x: Tensor) -> Tensor:
        query, key = fold(model.query(x)), fold(model.key(x))
        return F.scaled_dot_product_attention(query, key, key)

    return attend


def written_out(fold: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def attend(model: Folded, x: Tensor) -> Tensor:
        query, key = fold(model.query(x)), fold(model.key(x))
        return (query @ key.mT / math.sqrt(EACH)).softmax(-1) @ key

    return attend


def split(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, EACH))


FOLDS: dict[str, Callable[[Tensor], Tensor]] = {
    "heads after the batch": lambda x: split(x).transpose(1, 2),
    "folded, batch first": lambda x: split(x).transpose(1, 2).flatten(0, 1),
    "folded, heads first": lambda x: torch.cat(x.split(EACH, -1)),
    "heads before the batch": lambda x: split(x).permute(2, 0, 1, 3),
    "stacked heads": lambda x: torch.stack(x.chunk(HEADS, -1), 1),
    "heads in the middle of five": lambda x: split(x).transpose(1, 2).unflatten(1, (2, 2)),
}


BATCH_FIRST = {"heads after the batch", "folded, batch first", "heads in the middle of five"}


def reversed_heads(model: Folded, x: Tensor) -> Tensor:
    query, key = (split(layer(x)).transpose(1, 2).flip(1) for layer in (model.query, model.key))
    return F.scaled_dot_product_attention(query, key, key)


def einsum_folded(model: Folded, x: Tensor) -> Tensor:
    query, key = (FOLDS["folded, batch first"](layer(x)) for layer in (model.query, model.key))
    weights = (torch.einsum("b i d, b j d -> b i j", query, key) * EACH**-0.5).softmax(-1)
    return torch.einsum("b i j, b j d -> b i d", weights, key)


def einsum_heads_last(model: Folded, x: Tensor) -> Tensor:
    query, key = split(model.query(x)), split(model.key(x))
    weights = (torch.einsum("bnhd,bmhd->bnmh", query, key) * EACH**-0.5).softmax(2)
    return torch.einsum("bnmh,bmhd->bnhd", weights, key)


def keys_first(model: Folded, x: Tensor) -> Tensor:
    query, key = (FOLDS["folded, heads first"](layer(x)) for layer in (model.query, model.key))
    weights = (key @ query.mT * EACH**-0.5).softmax(-2)
    return (key.mT @ weights).mT


def flattened_rows(model: Folded, x: Tensor) -> Tensor:
    query, key = (split(layer(x)).transpose(1, 2) for layer in (model.query, model.key))
    scores = query @ key.mT * EACH**-0.5
    weights = F.softmax(scores.reshape(-1, LENGTH), dim=1).view(scores.shape)
    return weights @ key


def rotated(model: Folded, x: Tensor) -> Tensor:
    angle = torch.zeros(LENGTH, EACH)

    def rotate(t: Tensor) -> Tensor:
        half = torch.cat([-t[..., 2:], t[..., :2]], -1)
        return t * angle.cos() + half * angle.sin()

    query, key = (rotate(split(layer(x)).transpose(1, 2)) for layer in (model.query, model.key))
    return F.scaled_dot_product_attention(query, key, key)


WAYS: dict[str, Callable[..., Tensor]] = {
    **{f"{name}, fused": fused(fold) for name, fold in FOLDS.items()},
    **{f"{name}, written out": written_out(fold) for name, fold in FOLDS.items()},
    "heads in the other order": reversed_heads,
    "folded, by einsum": einsum_folded,
    "heads last, by einsum": einsum_heads_last,
    "keys first": keys_first,
    "rows of all samples": flattened_rows,
    "rotary positions": rotated,
}


def followed(model: nn.Module, x: Tensor, batch_dim: int | None = 0, beside: Inputs = ()) -> TapLog:
    log = TapLog()
    with Tap(module_names(model), log, layouts=FollowedLayouts((x, *beside), batch_dim)):
        model(x)
    return log


def weights_of(call: AttentionCall, sample: int) -> Tensor:
    return attention_weights(call.of_model_sample(sample, BATCH), dtype=torch.float64).detach()


def test_an_array_among_the_inputs_changes_nothing() -> None:
    model, x = Folded(WAYS["heads before the batch, fused"]), torch.randn(BATCH, LENGTH, WIDTH)
    log = followed(model, x, beside=(np.zeros(BATCH),))
    assert log.unsupported == []
    assert [call.heads for call in log.calls] == [HEADS]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_sample_and_head_is_the_one_it_says(way: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model, x = Folded(way), torch.randn(BATCH, LENGTH, WIDTH)
    log = followed(model, x)
    (call,) = log.calls
    assert log.unsupported == []
    assert (call.batch, call.heads, call.note) == (BATCH, HEADS, "")
    for sample in range(BATCH):
        torch.testing.assert_close(
            weights_of(call, sample), by_hand(model, x[sample]), atol=1e-6, rtol=0
        )

    (call,) = followed(model, x[:1]).calls  # alone, it has places in all orders alike
    torch.testing.assert_close(weights_of(call, 0), by_hand(model, x[0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_layout_that_is_known_serves_a_batch_of_another_size(way: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model, x = Folded(way), torch.randn(5, LENGTH, WIDTH)
    (first,) = followed(model, x[:BATCH]).calls
    assert first.layout is not None
    known = Layout(
        5, first.layout.outer, first.layout.inner, first.layout.places,
        row_splits=first.layout.row_splits,
    )  # fmt: skip
    log = TapLog()
    with Tap(module_names(model), log, layouts=KnownLayouts(lambda name, index: known)):
        model(x)
    (call,) = log.calls
    one = attention_weights(call.of_model_sample(4, 5), dtype=torch.float64)
    torch.testing.assert_close(one.detach(), by_hand(model, x[4]), atol=1e-6, rtol=0)


def test_the_samples_are_found_in_the_second_dimension() -> None:
    torch.manual_seed(0)
    model = Folded(fused(lambda x: x.reshape(LENGTH, -1, EACH).transpose(0, 1)))
    x = torch.randn(LENGTH, BATCH, WIDTH)
    (call,) = followed(model, x).calls
    assert call.layout is not None
    assert call.layout.batch_dim == 1
    for sample in range(BATCH):
        torch.testing.assert_close(
            weights_of(call, sample), by_hand(model, x[:, sample]), atol=1e-6, rtol=0
        )


def test_two_views_of_a_sample_are_told_apart_from_two_samples() -> None:
    torch.manual_seed(0)

    def both(model: Folded, x: Tensor) -> Tensor:
        return fused(FOLDS["heads after the batch"])(model, torch.cat([x, -x]))

    model, x = Folded(both), torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(model, x).calls
    assert call.note == "only the first of 2 windows of this sample"
    for sample in range(BATCH):
        torch.testing.assert_close(
            weights_of(call, sample), by_hand(model, x[sample]), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("is_outer", [False, True])
def test_windows_are_no_heads(is_outer: bool) -> None:
    torch.manual_seed(0)

    def windows(t: Tensor) -> Tensor:
        parts = split(t).unflatten(1, (2, 3)).transpose(2, 3)
        return (parts.transpose(0, 1) if is_outer else parts).flatten(0, 1)

    model, x = Folded(fused(windows)), torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(model, x).calls
    assert (call.heads, call.note) == (HEADS, "only the first of 2 windows of this sample")
    for sample in range(BATCH):
        torch.testing.assert_close(
            weights_of(call, sample), by_hand(model, x[sample, :3]), atol=1e-6, rtol=0
        )


def over_channels(model: Folded, x: Tensor) -> Tensor:
    query, key = (split(layer(x)).permute(0, 2, 3, 1) for layer in (model.query, model.key))
    return (query @ key.mT).softmax(-1) @ key


def over_samples(model: Folded, x: Tensor) -> Tensor:
    query, key = (layer(x).flatten(0, 1) for layer in (model.query, model.key))
    return F.scaled_dot_product_attention(query[None], key[None], key[None])


def of_other_samples(model: Folded, x: Tensor) -> Tensor:
    query, key = model.query(x), model.key(x.roll(1, 0))
    return F.scaled_dot_product_attention(query[:, None], key[:, None], key[:, None])


def one_after_the_other(model: Folded, x: Tensor) -> Tensor:
    attend = fused(FOLDS["heads after the batch"])
    return torch.cat([attend(model, one) for one in x.split(1)])


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (one_after_the_other, "some of the samples only"),
        (over_channels, "channels and not positions"),
        (over_samples, "one map seems to hold several places"),
        (of_other_samples, "keys of other samples"),
    ],
)
def test_what_is_no_map_of_one_sample_is_refused(way: Callable[..., Tensor], reason: str) -> None:
    log = followed(Folded(way), torch.randn(BATCH, LENGTH, WIDTH))
    assert log.calls == []
    assert reason in log.reasons[0]


def test_inputs_without_a_batch_are_one_sample() -> None:
    torch.manual_seed(0)
    model = Folded(written_out(lambda x: split(x).transpose(0, 1)))
    x = torch.randn(LENGTH, WIDTH)
    (call,) = followed(model, x, batch_dim=None).calls
    one = attention_weights(call.of_model_sample(0, 1), dtype=torch.float64)
    torch.testing.assert_close(one.detach(), by_hand(model, x), atol=1e-6, rtol=0)


def with_prefix(model: Folded, x: Tensor) -> Tensor:
    query, key = (FOLDS["heads after the batch"](layer(x)) for layer in (model.query, model.key))
    key = torch.cat([torch.ones(len(x), HEADS, 2, EACH), key], 2)
    return F.scaled_dot_product_attention(query, key, key)


def test_the_keys_of_a_prefix_stand_before_the_queries_own() -> None:
    (call,) = followed(Folded(with_prefix), torch.randn(BATCH, LENGTH, WIDTH)).calls
    assert (call.earlier, call.is_cross) == (2, False)


@pytest.mark.parametrize("attend", [fused, written_out])
def test_keys_of_a_cache_that_is_an_input_stand_before_the_queries_own(
    attend: Callable[..., Callable[..., Tensor]],
) -> None:
    cache = torch.randn(BATCH, HEADS, 2, EACH)

    def beside_a_cache(model: Folded, x: Tensor) -> Tensor:
        own = iter((True, False))
        return attend(lambda t: split_heads(t) if next(own) else cached(t))(model, x)

    def split_heads(x: Tensor) -> Tensor:
        return split(x).transpose(1, 2)

    def cached(x: Tensor) -> Tensor:
        return torch.cat([cache, split_heads(x)], 2)

    x = torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(Folded(beside_a_cache), x, beside=(cache,)).calls
    assert (call.earlier, call.is_cross) == (2, False)


@pytest.mark.parametrize("attend", [fused, written_out])
@pytest.mark.parametrize("moves", ["queries", "keys", "nothing"])
def test_positions_in_another_order_than_the_inputs_are_noted(
    attend: Callable[..., Callable[..., Tensor]], moves: str
) -> None:
    def moved(model: Folded, x: Tensor) -> Tensor:
        given = iter(("queries", "keys"))

        def fold(t: Tensor) -> Tensor:
            heads = split(t).transpose(1, 2)
            return heads.flip(2) if next(given) == moves else heads

        return attend(fold)(model, x)

    (call,) = followed(Folded(moved), torch.randn(BATCH, LENGTH, WIDTH)).calls
    assert ("in another order" in call.note) == (moves != "nothing")


def test_learned_keys_are_of_no_other_stack() -> None:
    """As of a memory that is trained: the name of its module tells what it is."""
    bank = torch.randn(5, WIDTH)

    def reads(model: Folded, x: Tensor) -> Tensor:
        key = model.key(bank)[None].expand(len(x), -1, -1)
        return (model.query(x) @ key.mT).softmax(-1) @ key

    (call,) = followed(Folded(reads), torch.randn(BATCH, LENGTH, WIDTH)).calls
    assert call.is_cross is None


def test_an_order_that_is_not_established_is_noted_where_it_had_to_be_assumed() -> None:
    folded, usual = torch.randn(6, 5, 4), torch.randn(2, 3, 5, 4)
    assert assumption_note(folded, 3) == "the order of samples and heads in (6, 5, 4) is assumed"
    assert assumption_note(usual, 3) == assumption_note(usual, None) == ""
    assert KernelShapes.of(folded, None, 3).query.shape == (2, 3, 5, 4)
    known = KernelShapes.of(folded, Layout(2, 3, 1, ((0, 0), (1, 0), (2, 0))), 3)
    assert torch.equal(known.query[1, 2], folded[5])
    assert known.note == ""


class Joint(Folded):
    """Image and text attend together, each with projections of its own."""

    def __init__(self) -> None:
        super().__init__(fused(FOLDS["heads after the batch"]))
        self.of_text = Folded(self.attend)

    def forward(self, x: Tensor) -> Tensor:
        fold = FOLDS["heads after the batch"]
        query, key = (
            torch.cat([fold(mine(x)), fold(other(x))], 2)
            for mine, other in ((self.query, self.of_text.query), (self.key, self.of_text.key))
        )
        return F.scaled_dot_product_attention(query, key, key)


def test_rows_of_several_projections_have_the_same_heads() -> None:
    torch.manual_seed(0)
    model, x = Joint(), torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(model, x).calls
    assert (call.heads, call.queries, call.note) == (HEADS, 2 * LENGTH, "")
    query = call.of_model_sample(1, BATCH).query
    assert query is not None
    expected = split(model.query(x[1])).transpose(0, 1)
    torch.testing.assert_close(query[:, :LENGTH], expected.detach())


def test_a_softmax_that_is_no_attention_does_not_mislead_the_next_layer() -> None:
    """Learned queries merge the positions; then the merged ones attend to each other."""
    torch.manual_seed(0)

    def merged_first(model: Folded, x: Tensor) -> Tensor:
        merged = (torch.ones(4, WIDTH) @ x.mT).softmax(-1) @ x
        return fused(FOLDS["heads after the batch"])(model, merged)

    log = followed(Folded(merged_first), torch.randn(BATCH, LENGTH, WIDTH))
    assert [(call.queries, call.keys, call.heads) for call in log.calls[-1:]] == [(4, 4, HEADS)]


@pytest.mark.parametrize("index", [[2, 0, 1], [1, 0, 2], [0, 1, 2]])
@pytest.mark.parametrize("is_data", [False, True])
def test_samples_that_were_put_into_another_order_are_told_apart_each_time(
    index: list[int], is_data: bool
) -> None:
    torch.manual_seed(0)

    def shuffled(model: Folded, x: Tensor) -> Tensor:
        return fused(FOLDS["folded, heads first"])(
            model, x[torch.tensor(index) if is_data else index]
        )

    model, x = Folded(shuffled), torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(model, x).calls
    for sample in range(BATCH):
        torch.testing.assert_close(
            weights_of(call, sample), by_hand(model, x[sample]), atol=1e-6, rtol=0
        )
    assert call.layout is not None
    known = LayoutRegistry()
    for _ in range(FOLLOWED_FIRST):
        known.add([CallInfo.of(call.of_sample(0))], BATCH)
    assert known.has_to_follow(BATCH) or not (is_data or index != sorted(index))


@pytest.mark.parametrize("attend", [fused, written_out])
@pytest.mark.parametrize("first", FOLDS)
@pytest.mark.parametrize("then", FOLDS)
def test_heads_that_are_folded_otherwise_than_when_they_were_followed_are_noticed(
    first: str, then: str, attend: Callable[..., Any]
) -> None:
    """Also where the shapes are the same, and though the order had been the same for long."""
    torch.manual_seed(0)
    model, x, log = Folded(attend(FOLDS[first])), torch.randn(BATCH, LENGTH, WIDTH), TapLog()
    (call,) = followed(model, x).calls
    model.attend = attend(FOLDS[then])
    with Tap(module_names(model), log, layouts=KnownLayouts(lambda name, index: call.layout)):
        model(x)
    assert log.is_stale or {first, then} <= BATCH_FIRST or first == then
    for call in log.calls:
        torch.testing.assert_close(weights_of(call, 1), by_hand(model, x[1]), atol=1e-6, rtol=0)
    assert len(followed(model, x).calls) == 1, "looked at again, it is known"


class LearnedQueries(nn.Module):
    """A decoder whose queries begin as parameters, and attend to an input in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = nn.Parameter(torch.randn(1, 4, WIDTH))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.zeros(len(x), 4, WIDTH) + self.asked
        for number, layer in enumerate(self.layers):
            keys = layer(x if number % 2 else hidden)[:, None]
            query = layer(hidden)[:, None]
            hidden = hidden + F.scaled_dot_product_attention(query, keys, keys)[:, 0]
        return hidden


def test_queries_that_began_as_parameters_are_a_stack_of_their_own() -> None:
    calls = followed(LearnedQueries(), torch.randn(BATCH, LENGTH, WIDTH)).calls
    assert [call.is_cross for call in calls] == [None, True, False, True]


def rows_of_groups(is_outer: bool, is_fused: bool, mask: Tensor | None) -> Callable[..., Tensor]:
    """Two heads of queries for each of two heads of keys, folded into the rows."""

    def attend(model: Folded, x: Tensor) -> Tensor:
        query = model.query(x).unflatten(-1, (2, 2, EACH))
        key = model.key(x)[..., : 2 * EACH].unflatten(-1, (2, EACH)).transpose(1, 2)
        query = query.permute(0, 2, 3, 1, 4) if is_outer else query.transpose(1, 2)
        query = query.flatten(2, 3)
        if is_fused:
            return F.scaled_dot_product_attention(query, key, key, attn_mask=mask)
        scores = query @ key.mT / math.sqrt(EACH)
        scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
        return scores.softmax(-1) @ key

    return attend


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("is_outer", [False, True])
def test_heads_that_are_folded_into_the_rows_are_told_apart(
    is_outer: bool, is_fused: bool, has_mask: bool
) -> None:
    torch.manual_seed(0)
    allowed = torch.ones(LENGTH, LENGTH).tril().bool()
    rows = allowed.repeat(2, 1) if is_outer else allowed.repeat_interleave(2, 0)
    model = Folded(rows_of_groups(is_outer, is_fused, rows if has_mask else None))
    x = torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(model, x).calls
    assert (call.batch, call.heads, call.note) == (BATCH, HEADS, "")
    query = model.query(x[1]).double().unflatten(-1, (HEADS, EACH))
    key = model.key(x[1])[:, : 2 * EACH].double().unflatten(-1, (2, EACH))
    logits = torch.einsum("nhd,mhd->hnm", query, key.repeat_interleave(2, 1)) / math.sqrt(EACH)
    expected = logits.masked_fill(~allowed, -math.inf) if has_mask else logits
    torch.testing.assert_close(
        weights_of(call, 1), expected.softmax(-1).detach(), atol=1e-6, rtol=0
    )


def test_causal_rows_that_hold_several_heads_are_refused() -> None:
    def attend(model: Folded, x: Tensor) -> Tensor:
        query, key = model.query(x).reshape(len(x), -1, EACH), model.key(x)[..., :EACH]
        return F.scaled_dot_product_attention(query, key, key, is_causal=True)

    log = followed(Folded(attend), torch.randn(BATCH, LENGTH, WIDTH))
    assert log.calls == []
    assert "rows that hold several samples or heads" in log.reasons[0]


class OfExperts(Folded):
    """Each position has the heads of an expert of its own."""

    def __init__(self, chosen: list[int]) -> None:
        super().__init__(fused(FOLDS["heads after the batch"]))
        self.experts = nn.ModuleList(nn.Linear(WIDTH, 2 * EACH) for _ in range(3))
        self.chosen = chosen

    def forward(self, x: Tensor) -> Tensor:
        def of_experts(shift: int) -> Tensor:
            rows = [self.experts[(c + shift) % 3](x[:, i]) for i, c in enumerate(self.chosen)]
            return torch.stack(rows, 1).unflatten(-1, (2, EACH))

        query = torch.cat([of_experts(0), of_experts(1)], 2).transpose(1, 2)
        key = FOLDS["heads after the batch"](self.key(x))
        return F.scaled_dot_product_attention(query, key, key)


@pytest.mark.parametrize("chosen", [[0, 2, 1, 1, 0, 2], [0, 0, 0, 2, 2, 2], [0] * LENGTH])
def test_heads_that_an_expert_makes_for_each_position_stand_in_their_places(
    chosen: list[int],
) -> None:
    torch.manual_seed(0)
    model, x = OfExperts(chosen), torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(model, x).calls
    assert (call.batch, call.heads, call.queries) == (BATCH, HEADS, LENGTH)
    query = call.of_sample(1).query
    assert query is not None
    expected = model.experts[(chosen[3] + 1) % 3](x[1, 3]).unflatten(-1, (2, EACH))
    torch.testing.assert_close(query[2:, 3], expected.detach())
