"""`nn.MultiheadAttention`: captured as its function computes it, with every option.

The oracle is the module itself: `need_weights=True, average_attn_weights=False`, in float64.
"""

from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog, exact_weights, tapped_calls
from torch import Tensor, nn

from attnmon.capture import Tap, module_names
from attnmon.capture.calls.verification import output_error

HEADS, WIDTH = 4, 32


def boolean_causal(size: int) -> Tensor:
    """True is masked, as `nn.MultiheadAttention` has it."""
    return torch.ones(size, size, dtype=torch.bool).triu(1)


PADDING = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
MHA_MASKS = {
    "none": {},
    "bool": {"attn_mask": boolean_causal(6)},
    "float": {"attn_mask": torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).double()},
    "folded": {"attn_mask": torch.randn(2 * HEADS, 6, 6).double()},
    "padding": {"key_padding_mask": PADDING},
    "padding and bool": {"key_padding_mask": PADDING, "attn_mask": boolean_causal(6)},
    "causal": {"is_causal": True, "attn_mask": boolean_causal(6)},
}


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("masks", MHA_MASKS.values(), ids=MHA_MASKS)
def test_multihead_attention_is_told_as_it_returns_it(
    masks: dict[str, Tensor | bool], need_weights: bool
) -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    x = torch.randn(2, 6, WIDTH, dtype=torch.float64)
    _, expected = attention(x, x, x, average_attn_weights=False, **masks)
    calls = tapped_calls(attention, lambda: attention(x, x, x, need_weights=need_weights, **masks))
    assert [call.heads for call in calls] == [HEADS]
    torch.testing.assert_close(exact_weights(calls[0]), expected, rtol=0, atol=1e-12)
    assert output_error(calls[0]) < 1e-5


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 8}])
def test_every_option_of_multihead_attention(options: dict[str, int], need_weights: bool) -> None:
    """Additional keys, and keys of another width; sequence first."""
    attention = nn.MultiheadAttention(WIDTH, HEADS, **options).double()  # type: ignore[arg-type]
    query = torch.randn(5, 3, WIDTH, dtype=torch.float64)
    key = torch.randn(7, 3, options.get("kdim", WIDTH), dtype=torch.float64)
    value = torch.randn(7, 3, WIDTH, dtype=torch.float64)
    _, expected = attention(query, key, value, average_attn_weights=False)
    calls = tapped_calls(attention, lambda: attention(query, key, value, need_weights=need_weights))
    torch.testing.assert_close(exact_weights(calls[0]), expected, rtol=0, atol=1e-12)


def test_weights_are_those_before_dropout() -> None:
    """In training the weights that the module returns are dropped out; the told ones sum to 1."""
    attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.5, batch_first=True).double()
    x = torch.randn(2, 6, WIDTH, dtype=torch.float64)
    expected = attention.eval()(x, x, x, average_attn_weights=False)[1]
    attention.train()
    for need_weights in (False, True):
        calls = tapped_calls(attention, lambda n=need_weights: attention(x, x, x, need_weights=n))
        torch.testing.assert_close(exact_weights(calls[0]), expected, rtol=0, atol=1e-12)
        assert calls[0].output is None


def test_a_function_of_the_users_own_around_multi_head_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs as often as without the tap, and what it calls is told."""
    original, runs = F.multi_head_attention_forward, []

    def wrapper(*args: object, **kwargs: object) -> object:
        runs.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(F, "multi_head_attention_forward", wrapper)
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH)
    calls = tapped_calls(attention, lambda: attention(x, x, x))
    assert (len(calls), len(runs)) == (1, 1)


class Named(Tensor):
    """Adds nothing to the arithmetic."""


class Counting(Tensor):
    """Handles calls itself, by the usual way, and counts them."""

    calls: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.calls.append(getattr(func, "__name__", str(func)))
        return super().__torch_function__(func, types, args, kwargs)


class Unwrapping(Tensor):
    """Handles calls itself, and returns plain tensors, as torchvision's classes do."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs or {})


class OwnKernel(Tensor):
    """Handles the call as a whole, in a way of its own."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.multi_head_attention_forward:
            return args[0] * 2, None
        return super().__torch_function__(func, types, args, kwargs)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("kind", [Named, Counting, Unwrapping])
def test_on_a_class_of_tensors_the_same_is_computed_and_told(
    kind: type[Tensor], need_weights: bool
) -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH)
    _, weights = attention(x, x, x, average_attn_weights=False)
    own = x.as_subclass(kind)
    Counting.calls.clear()
    expected = attention(own, own, own, need_weights=need_weights)[0]
    untapped = Counting.calls[:]
    Counting.calls.clear()
    results = []
    calls = tapped_calls(
        attention, lambda: results.append(attention(own, own, own, need_weights=need_weights)[0])
    )
    assert Counting.calls == untapped, "the class is asked as often as without the tap"
    assert type(results[0]) is type(expected)
    assert torch.equal(results[0], expected)
    assert [call.heads for call in calls] == [HEADS]
    torch.testing.assert_close(exact_weights(calls[0]).float(), weights, rtol=0, atol=1e-6)


def test_a_class_of_tensors_with_a_kernel_of_its_own_runs_that() -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH).as_subclass(OwnKernel)
    log, results = TapLog(), []
    with Tap(module_names(attention), log):
        results.append(attention(x, x, x)[0])
    assert torch.equal(results[0], attention(x, x, x)[0])
    assert torch.equal(results[0], x * 2)
    assert log.calls == []
    assert [why.split(" of ")[0] for why in log.reasons] == ["multi_head_attention_forward"]
