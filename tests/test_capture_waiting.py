"""Calls that are told when the forward is over: which may wait, and that it changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from attnmon.capture import Observation, Tap, module_names
from attnmon.capture.kernels import scaled_dot_product_attention
from attnmon.capture.sites import looked_into
from attnmon.capture.waiting import SMALL_MASK, Call, Waiting

CALLER = ("layer", None)


def call(*args: Tensor, **kwargs: Any) -> Call:
    kernel = F.scaled_dot_product_attention
    result = kernel(*args, **kwargs)
    return Call(scaled_dot_product_attention, kernel, result, args, kwargs)


def tensors(*, grad: bool = True) -> list[Tensor]:
    return [torch.randn(2, 3, 5, 4, requires_grad=grad) for _ in range(3)]


def is_taken(make: Callable[[], Call]) -> bool:
    waiting = Waiting()
    taken = waiting.takes(make(), CALLER)
    assert len(waiting.take()) == taken
    return taken


def test_a_call_that_autograd_keeps_may_wait() -> None:
    assert is_taken(lambda: call(*tensors()))


def test_a_call_waits_only_if_it_takes_no_memory_and_means_the_same_later() -> None:
    assert not is_taken(lambda: call(*tensors(grad=False))), "nobody keeps these"
    with torch.no_grad():
        assert not is_taken(lambda: call(*tensors()))
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_taken(lambda: call(*tensors())), "it is rounded inside"
    with save_on_cpu(), saved_tensors_hooks(lambda kept: kept, lambda kept: kept):
        assert not is_taken(lambda: call(*tensors())), "kept elsewhere, or not at all"
    large = torch.zeros(SMALL_MASK // 4 // 64 + 1, 1, 1, 64)
    query, key = torch.randn(len(large), 1, 2, 4, requires_grad=True), torch.randn(1, 1, 64, 4)
    keys = key.expand(len(large), -1, -1, -1)
    assert not is_taken(lambda: call(query, keys, keys, attn_mask=large))
    assert is_taken(lambda: call(query, keys, keys, attn_mask=large[:1]))
    other = F.multi_head_attention_forward
    assert not is_taken(lambda: call(*tensors())._replace(kernel=other))


def test_what_activation_checkpointing_makes_does_not_wait() -> None:
    taken = []

    def layer(hidden: Tensor) -> Tensor:
        one = call(hidden, hidden, hidden)
        taken.append(is_taken(lambda: one))
        return one.result

    for reentrant in (True, False):
        checkpoint(layer, tensors()[0], use_reentrant=reentrant)
    assert taken == [False, False]


@pytest.mark.parametrize("position", ["args", "kwargs"])
def test_a_mask_is_as_it_was_and_copied_once_for_all_that_are_given_the_same(
    position: str,
) -> None:
    waiting, mask = Waiting(), torch.zeros(5, 5)
    query, key, value = tensors()

    def make() -> Call:
        if position == "args":
            return call(query, key, value, mask, 0.0, False)
        return call(query, key, value, attn_mask=mask)

    for change in (0.0, 0.0, -1.0):
        mask.data += change  # without autograd's knowledge
        assert waiting.takes(make(), CALLER)
    mask.data.fill_(7)
    kept = [c.args[3] if position == "args" else c.kwargs["attn_mask"] for c, _ in waiting.take()]
    assert [one.unique().tolist() for one in kept] == [[0], [0], [-1]]
    assert kept[0] is kept[1]


def test_a_call_whose_query_or_key_was_changed_since_is_not_told() -> None:
    for changed in (0, 1):
        waiting, given = Waiting(), tensors()
        untouched = call(*tensors())
        assert waiting.takes(call(*given), CALLER)
        assert waiting.takes(untouched, CALLER)
        with torch.no_grad():
            given[changed].add_(1)
        assert [one for one, _ in waiting.take()] == [untouched]


class Sometimes(nn.Module):
    """Attends three times; the second time nothing is kept for a backward."""

    def forward(self, hidden: Tensor) -> Tensor:
        first = F.scaled_dot_product_attention(hidden, hidden, hidden)
        with torch.no_grad():
            second = F.scaled_dot_product_attention(2 * hidden, hidden, hidden)
        return first + second + F.scaled_dot_product_attention(3 * hidden, hidden, hidden)


def test_calls_are_told_in_their_order_whether_they_wait_or_not() -> None:
    model, hidden = nn.Sequential(Sometimes()), torch.randn(2, 1, 5, 4, requires_grad=True)
    told: list[Observation] = []
    tap = Tap(module_names(model), told.append, pytest.fail)
    with looked_into(tap, [model[0]]):
        model(hidden)
    assert [seen.call for seen in told] == [0, 1], "the third waits"
    tap.finish()
    assert [seen.call for seen in told] == [0, 1, 2]
    for seen, factor in zip(told, (1, 2, 3), strict=True):
        assert seen.query is not None
        assert torch.equal(seen.query, factor * hidden)
    tap.finish()
    assert len(told) == 3, "each once"
