"""Queries that come from no input, or through functions that are not understood."""

import math
from collections.abc import Callable

import pytest
import torch
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon.capture import Tap, module_names
from attnmon.capture.layouts import FollowedLayouts

BATCH, LENGTH, HEADS, EACH, WIDTH = 3, 6, 2, 5, 10


def followed(model: nn.Module, x: Tensor) -> TapLog:
    log = TapLog()
    with Tap(module_names(model), log, layouts=FollowedLayouts((x,), 0)):
        model(x)
    return log


def folded(x: Tensor) -> Tensor:
    return torch.cat(x.split(EACH, -1))


class Pooled(nn.Module):
    """Learned queries for each sample, heads folded before the samples, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = nn.Parameter(torch.randn(1, 2, WIDTH))
        self.query, self.key = nn.Linear(WIDTH, HEADS * EACH), nn.Linear(WIDTH, HEADS * EACH)

    def forward(self, x: Tensor) -> Tensor:
        query, key = folded(self.query(self.asked.repeat(len(x), 1, 1))), folded(self.key(x))
        return (query @ key.mT / math.sqrt(EACH)).softmax(-1) @ key


def test_the_samples_of_learned_queries_are_those_of_their_keys() -> None:
    torch.manual_seed(0)
    model, x = Pooled(), torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(model, x).calls
    assert (call.batch, call.heads, call.note, call.is_cross) == (BATCH, HEADS, "", True)
    query, key = (
        layer(tensor).double().unflatten(-1, (HEADS, EACH))
        for layer, tensor in ((model.query, model.asked[0]), (model.key, x[1]))
    )
    expected = (torch.einsum("nhd,mhd->hnm", query, key) / math.sqrt(EACH)).softmax(-1)
    weights = call.of_model_sample(1, BATCH).weights
    assert weights is not None
    torch.testing.assert_close(weights.double(), expected.detach(), atol=1e-6, rtol=0)


class Decoder(nn.Module):
    """Queries that begin as zeros attend to the input twice, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.place = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.zeros(len(x), 4, WIDTH)
        for _ in range(2):
            key = torch.cat([self.key(x), self.place(torch.ones_like(x))], -1)
            query = torch.cat([self.query(hidden), self.query(hidden)], -1)
            hidden = hidden + (query @ key.mT).softmax(-1) @ x
        return hidden


@pytest.mark.parametrize("batch", [1, BATCH])
def test_attention_that_is_written_out_is_cross_attention_in_each_layer(batch: int) -> None:
    calls = followed(Decoder(), torch.randn(batch, LENGTH, WIDTH)).calls
    assert [(call.is_cross, call.layout is None) for call in calls] == [(True, False)] * 2


def pooled(x: Tensor) -> Tensor:
    return x.unflatten(1, (3, 2)).max(dim=2).values


def ordered(x: Tensor) -> Tensor:
    return x.sort(1)[0]


def written_in_parts(x: Tensor) -> Tensor:
    parts = x.new_empty(x.shape)
    parts[..., :4].copy_(x[..., :4])
    parts[..., 4:].copy_(x[..., 4:])
    return parts


@pytest.mark.parametrize(
    ("change", "is_cross"), [(pooled, False), (ordered, None), (written_in_parts, None)]
)
def test_queries_that_were_made_of_the_input_are_not_taken_for_learned_ones(
    change: Callable[[Tensor], Tensor], is_cross: bool | None
) -> None:
    class Attending(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (change(x) @ x.mT).softmax(-1) @ x

    (call,) = followed(Attending(), torch.randn(BATCH, LENGTH, WIDTH)).calls
    assert call.is_cross is is_cross
    assert call.layout is not None


def test_rows_that_were_scattered_are_followed_to_where_they_are() -> None:
    """As a mixture of experts does it: rows are sorted, changed, and put back."""

    class Sorted(nn.Module):
        def __init__(self, shift: int) -> None:
            super().__init__()
            self.shift = shift

        def forward(self, x: Tensor) -> Tensor:
            rows = x.flatten(0, 1)
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
            places = (order + self.shift) % len(rows)
            back = torch.zeros_like(rows).index_add(0, places, rows[order] * 2).view_as(x)
            return (back @ x.mT).softmax(-1) @ x

    x = torch.randn(BATCH, LENGTH, WIDTH)
    (call,) = followed(Sorted(0), x).calls
    assert call.layout is not None
    assert (call.layout.samples, call.is_cross) == (BATCH, False)
    assert "one map seems to hold several places" in followed(Sorted(1), x).reasons[0]
