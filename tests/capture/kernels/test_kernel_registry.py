"""`scaled_dot_product_attention` called directly: described as the kernel computes it."""

import pytest
import torch
import torch.nn.functional as F
from support.tapping import exact_weights, tapped_calls
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

from attnmon.capture.calls.verification import output_error

HEADS, WIDTH = 4, 32


def kernel_arguments() -> dict[str, dict[str, object]]:
    float_mask = torch.randn(2, 1, 5, 7)
    bool_mask = torch.rand(5, 7) > 0.3
    bool_mask[:, 0] = True
    return {
        "plain": {},
        "scale": {"scale": 0.3},
        "causal": {"is_causal": True},
        "float mask": {"attn_mask": float_mask},
        "bool mask": {"attn_mask": bool_mask},
        "mask of all heads": {"attn_mask": torch.randn(2, HEADS, 5, 7)},
        "upper left": {"attn_mask": causal_upper_left(5, 7)},
        "lower right": {"attn_mask": causal_lower_right(5, 7)},
    }


@pytest.mark.parametrize("options", kernel_arguments().values(), ids=kernel_arguments())
def test_the_kernel_called_by_itself(options: dict[str, object]) -> None:
    """Its identity as the value makes the kernel itself show its weights."""
    query, key = torch.randn(2, HEADS, 5, 8), torch.randn(2, HEADS, 7, 8)
    identity = torch.eye(7).expand(2, HEADS, 7, 7)
    attend = F.scaled_dot_product_attention
    results: list[Tensor] = []
    calls = tapped_calls(
        nn.Module(), lambda: results.append(attend(query, key, identity, **options))
    )
    torch.testing.assert_close(exact_weights(calls[0]).float(), results[0], rtol=0, atol=1e-6)
    assert torch.equal(calls[0].query, query)
    assert calls[0].query.data_ptr() == query.data_ptr()


def test_grouped_queries() -> None:
    query, key = torch.randn(2, 6, 5, 8), torch.randn(2, 2, 7, 8)
    identity = torch.eye(7).expand(2, 2, 7, 7)
    results: list[Tensor] = []
    calls = tapped_calls(
        nn.Module(),
        lambda: results.append(
            F.scaled_dot_product_attention(query, key, identity, enable_gqa=True)
        ),
    )
    assert calls[0].heads == 6
    torch.testing.assert_close(exact_weights(calls[0]).float(), results[0], rtol=0, atol=1e-6)
    assert output_error(calls[0].of_sample(1)) < 1e-5


def test_a_row_without_any_key_is_zero_as_the_kernel_has_it() -> None:
    query = torch.randn(1, 1, 3, 8)
    mask = torch.tensor([[True, True, True], [False, False, False], [True, False, False]])
    results: list[Tensor] = []
    calls = tapped_calls(
        nn.Module(),
        lambda: results.append(
            F.scaled_dot_product_attention(query, query, torch.eye(3)[None, None], attn_mask=mask)
        ),
    )
    assert (results[0][0, 0, 1] == 0).all()
    assert (exact_weights(calls[0])[0, 0, 1] == 0).all()


@pytest.mark.parametrize(
    ("lead", "of_mask"),
    [
        ((), ()),
        ((6,), (6,)),
        ((6,), (1,)),
        ((6,), ()),
        ((2, 3, HEADS), (2, 3, HEADS)),
        ((2, 3, HEADS), (3, HEADS)),
        ((2, 3, HEADS), (2, 1, 1)),
    ],
)
def test_other_numbers_of_dimensions(lead: tuple[int, ...], of_mask: tuple[int, ...]) -> None:
    """[positions, width], [batch, …] of one head, and two batch dimensions."""
    query, key = torch.randn(*lead, 5, 8), torch.randn(*lead, 7, 8)
    mask = torch.randn(*of_mask, 5, 7)
    calls = tapped_calls(nn.Module(), lambda: F.scaled_dot_product_attention(query, key, key, mask))
    expected = (query @ key.mT / 8**0.5 + mask).softmax(-1)
    torch.testing.assert_close(exact_weights(calls[0]).float().reshape(expected.shape), expected)


def test_under_autocast_the_rounded_query_is_told() -> None:
    """The tap sees float32; the kernel computes with bfloat16."""
    query, key = torch.randn(2, HEADS, 5, 8) * 5, torch.randn(2, HEADS, 7, 8)
    results: list[Tensor] = []

    def forward() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            results.append(F.scaled_dot_product_attention(query, key, key))

    sample = tapped_calls(nn.Module(), forward)[0].of_sample(1)
    assert results[0].dtype == torch.bfloat16
    assert torch.equal(sample.query, query[1].bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        kept = tapped_calls(
            nn.Module(), lambda: F.scaled_dot_product_attention(*[query.double()] * 3)
        )
    assert kept[0].of_sample(0).query.dtype == torch.float64  # which autocast leaves alone
    rounded = [tensor[1].bfloat16().double() for tensor in (query, key)]
    expected = (rounded[0] @ rounded[1].mT / 8**0.5).softmax(-1)
    torch.testing.assert_close(exact_weights(sample), expected, rtol=0, atol=1e-12)


def test_an_empty_sequence_is_told_as_it_is() -> None:
    query = torch.randn(2, HEADS, 0, 8)
    calls = tapped_calls(nn.Module(), lambda: F.scaled_dot_product_attention(query, query, query))
    assert exact_weights(calls[0].of_sample(0)).shape == (HEADS, 0, 0)
    assert output_error(calls[0]) is None


def test_a_sample_that_is_not_there() -> None:
    query = torch.randn(2, HEADS, 5, 8)
    calls = tapped_calls(nn.Module(), lambda: F.scaled_dot_product_attention(query, query, query))
    with pytest.raises(IndexError, match="sample 2 of a batch of 2"):
        calls[0].of_sample(2)
