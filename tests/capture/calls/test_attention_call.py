"""One sample of a call, whether it is causal, and how well it explains its output."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from attnmon.capture import AttentionCall, UnknownOrder, is_causal
from attnmon.capture.calls.verification import attention_weights, output_error

NEGATIVE = torch.finfo(torch.float32).min


def make_call(**fields: Any) -> AttentionCall:
    return AttentionCall("", 0, "test", 2, **fields)


def triangle(size: int = 4) -> Tensor:
    return torch.ones(size, size, dtype=torch.bool).tril()


def with_bias(bias: Tensor, queries: int = 4) -> AttentionCall:
    query, key = torch.randn(2, queries, 8), torch.randn(2, 4, 8)
    return make_call(query=query, key=key, bias=bias)


def test_a_sample_is_a_view_without_the_batch() -> None:
    query, bias = torch.randn(3, 2, 4, 8), torch.randn(1, 2, 4, 4)
    whole = make_call(query=query, key=query, bias=bias)
    sample = whole.of_sample(2)
    assert (whole.batch, sample.batch) == (3, 1)
    assert (sample.queries, sample.keys) == (4, 4)
    assert torch.equal(sample.query, query[2])
    assert sample.query.data_ptr() == query[2].data_ptr()
    assert torch.equal(sample.bias, bias[0])
    assert torch.equal(sample.of_sample(0).query, query[2])


@pytest.mark.parametrize(
    ("batch", "sample", "samples", "index", "note"),
    [
        (3, 2, 3, 2, ""),
        (1, 0, 1, 0, ""),
        (1, 1, 3, 0, "one map for all 3 samples"),
        (3, 1, 0, 1, ""),  # of how many samples is not known
        (3, 7, 0, 2, ""),
    ],
)
def test_one_sample_of_a_batch(
    batch: int, sample: int, samples: int, index: int, note: str
) -> None:
    query = torch.randn(batch, 2, 4, 8)
    one = make_call(query=query, key=query).of_model_sample(sample, samples)
    assert torch.equal(one.query, query[index])
    assert one.note == note


@pytest.mark.parametrize(("batch", "samples"), [(12, 3), (4, 1), (3, 2)])
def test_no_sample_is_taken_where_it_is_not_known_which_entry_is_whose(
    batch: int, samples: int
) -> None:
    query = torch.randn(batch, 2, 4, 8)
    with pytest.raises(UnknownOrder, match=f"{batch} maps for {samples} samples"):
        make_call(query=query, key=query).of_model_sample(0, samples)


CAUSAL = {
    "a triangle of booleans": triangle(),
    "of the least number": torch.zeros(4, 4).masked_fill(~triangle(), NEGATIVE),
    "of nothing but -100": ~triangle() * -100.0,
    "of -1e9, beside a position bias": torch.randn(2, 4, 4) + ~triangle() * -1e9,
    "with padding to the left": triangle() & (torch.arange(4) > 0),
    "with padding that may see everything": torch.cat(
        [torch.ones(1, 4, dtype=torch.bool), triangle()[1:]]
    ),
    "a window": triangle() & triangle().mT.roll(1, 1).fill_diagonal_(True),
}
NOT_CAUSAL = {
    "everything": torch.ones(4, 4, dtype=torch.bool),
    "padding of keys": torch.arange(4)[None, :] < 3,
    "a position bias": torch.randn(2, 4, 4),
    "ALiBi, far away": -1000.0 * (torch.arange(4) - torch.arange(4)[:, None]).abs(),
    "nothing": torch.zeros(4, 4, dtype=torch.bool),
    "a prefix seen by all": triangle() | (torch.arange(4) < 3),
}


@pytest.mark.parametrize("bias", CAUSAL.values(), ids=CAUSAL)
def test_causal_masks(bias: Tensor) -> None:
    assert is_causal(with_bias(bias))


@pytest.mark.parametrize(("seen_by_all", "expected"), [(2, True), (1, False)])
def test_keys_behind_the_queries_own_that_all_see_leave_it_causal(
    seen_by_all: int, expected: bool
) -> None:
    """As learned ones, or one of zeros."""
    seen = torch.ones(4, 2, dtype=torch.bool)
    seen[1:3, seen_by_all:] = False
    call = replace(with_bias(torch.cat([triangle(), seen], 1)), key=torch.randn(2, 6, 8))
    assert is_causal(call, further=2) is expected
    assert not is_causal(call)


@pytest.mark.parametrize("bias", NOT_CAUSAL.values(), ids=NOT_CAUSAL)
def test_masks_that_are_not_causal(bias: Tensor) -> None:
    assert not is_causal(with_bias(bias))


def test_causality_of_weights() -> None:
    """Padded queries attend to all keys alike, where a mask of finite numbers forbids them all."""
    causal = attention_weights(with_bias(triangle()))
    padded = causal.clone()
    padded[:, :2] = 0.25
    for weights, expected in (
        (causal, True),
        (padded, True),
        (causal.mT, False),
        (causal * 0, False),
    ):
        assert is_causal(make_call(weights=weights)) == expected
    assert not is_causal(make_call(weights=attention_weights(with_bias(torch.zeros(4, 4)))))


def test_a_single_query_is_causal_only_if_it_says_so() -> None:
    assert not is_causal(with_bias(torch.tensor([[True, False, False, False]]), queries=1))
    query = torch.randn(2, 1, 8)
    assert is_causal(make_call(query=query, key=query, causal=True))


def test_the_error_shows_what_was_missed() -> None:
    """A soft cap, a sink or a window that is not known to the call."""
    torch.manual_seed(3)
    query, key, value = (torch.randn(2, 2, 9, 8) * 3 for _ in range(3))
    true = {
        "softcap": {"softcap": 2.0},
        "sinks": {"sinks": torch.tensor([2.0, 1.0])},
        "window": {"bias": triangle(9).mT},
    }
    for fields in ({}, *true.values()):
        right = make_call(query=query, key=key, value=value, scale=0.3, **fields)
        output = attention_weights(right) @ value
        known = make_call(query=query, key=key, value=value, scale=0.3, output=output, **fields)
        assert output_error(known) < 1e-6
        if fields:
            missed = make_call(query=query, key=key, value=value, scale=0.3, output=output)
            assert output_error(missed) > 0.01


def test_rows_can_be_taken_alone() -> None:
    """A long sequence is checked on some of its rows; they are as in the whole."""
    call = make_call(
        query=torch.randn(2, 100, 8), key=torch.randn(1, 90, 8), bias=torch.randn(2, 100, 90),
        causal=True, sinks=torch.randn(2),
    )  # fmt: skip
    rows = torch.tensor([0, 7, 99])
    some = attention_weights(call, rows)
    # A product of other sizes may sum in another order, by the processor it runs on.
    torch.testing.assert_close(some, attention_weights(call)[:, rows])
