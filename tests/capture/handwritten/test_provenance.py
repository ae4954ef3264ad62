"""One softmax is one layer; what only a combination of several shows is refused by name."""

from collections.abc import Callable

import pytest
import torch
from support.tapping import TapLog, tapped
from torch import Tensor, nn

BATCH, HEADS, LENGTH, EACH = 2, 3, 8, 4


class Named(nn.Module):
    def __init__(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.attend = attend

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.attend(q, k, v)


class Around(nn.Module):
    def __init__(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = Named(attend)


def seen(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> TapLog:
    torch.manual_seed(0)
    model = Around(attend)
    tensors = torch.randn(3, BATCH, HEADS, LENGTH, EACH).unbind()
    return tapped(model, lambda: model.inner(*tensors))


def with_relative_values(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT).softmax(-1)
    return weights @ v + weights @ torch.randn(LENGTH, EACH)


def two_in_turn(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A second hop whose queries are what the first one found, as memory networks have it."""
    found = (q @ k.mT).softmax(-1) @ v
    return (found @ k.mT).softmax(-1) @ v


@pytest.mark.parametrize(
    ("attend", "calls"), [(with_relative_values, 1), (two_in_turn, 2)], ids=["one", "two"]
)
def test_each_softmax_is_one_layer(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor], calls: int
) -> None:
    log = seen(attend)
    assert (len(log.calls), log.unsupported) == (calls, [])


def landmarks(q: Tensor) -> Tensor:
    return q.unflatten(2, (2, -1)).mean(3)


def nystrom(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Xiong et al. 2021, with the inverse by Newton's method."""
    few_q, few_k = landmarks(q), landmarks(k)
    left, middle = (q @ few_k.mT).softmax(-1), (few_q @ few_k.mT).softmax(-1)
    inverse = middle.mT / middle.sum(-1).max()
    for _ in range(2):
        inverse = 2 * inverse - inverse @ middle @ inverse
    return (left @ inverse) @ ((few_q @ k.mT).softmax(-1) @ v)


def pseudo_inverse(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    few_q, few_k = landmarks(q), landmarks(k)
    left, middle = (q @ few_k.mT).softmax(-1), (few_q @ few_k.mT).softmax(-1)
    return left @ torch.linalg.pinv(middle) @ ((few_q @ k.mT).softmax(-1) @ v)


def low_rank(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    few = landmarks(q)
    return ((q @ few.mT).softmax(-1) @ (few @ k.mT).softmax(-1)) @ v


def sum_as_weights(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mixing = torch.randn(BATCH, HEADS, LENGTH, LENGTH)
    return ((q @ k.mT).softmax(-1) @ mixing.cos()) @ v


def in_parts(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT).softmax(-1)
    return weights[..., :3] @ v[..., :3, :] + weights[..., 3:] @ v[..., 3:, :]


@pytest.mark.parametrize("attend", [nystrom, pseudo_inverse, low_rank, sum_as_weights, in_parts])
def test_a_combination_of_softmaxes_is_refused_by_name(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    log = seen(attend)
    refused = {name for name, reason in log.unsupported if "combined" in reason}
    assert refused == {"inner"}
    indices = {index for name, index in log.refused if name == "inner"}
    assert {call.call_index for call in log.calls} <= indices


@pytest.mark.parametrize(
    ("count", "note"), [(1, ""), (3, "without 3 more keys that its softmax is over")]
)
def test_keys_that_only_take_part_in_the_softmax_are_noted_unless_it_is_a_sink(
    count: int, note: str
) -> None:
    def with_sinks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        logits = torch.cat([q @ k.mT, torch.zeros(BATCH, HEADS, LENGTH, count)], -1)
        return logits.softmax(-1)[..., :-count] @ v

    (call,) = seen(with_sinks).calls
    assert call.note == note


def test_weights_that_are_changed_after_the_softmax_are_noted() -> None:
    def scaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ((q @ k.mT).softmax(-1) * torch.rand(HEADS, 1, 1)) @ v

    (call,) = seen(scaled).calls
    assert call.note == "changed after the softmax: rows need not sum to 1"
