"""Masks that are added in half precision forbid what they forbid in float32, on both sides."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attnmon.capture import AttentionCall, is_causal
from attnmon.link.messages import ArrayBlock, Attention
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention

HEADS, QUERIES, KEYS, WIDTH = 2, 6, 9, 4
HALF_PRECISION = [torch.bfloat16, torch.float16]
MASKED = [-1e4, -1e9, -math.inf]
"""What models add to the logits of a masked key; float16 turns -1e9 into -inf."""


def layer_of(**tensors: Tensor) -> LayerAttention:
    """A layer as it is sent: each tensor in its own dtype, one after the other in memory."""
    memory = b""
    blocks: dict[str, Any] = {}
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        blocks[name] = ArrayBlock(len(memory), dtype, tuple(tensor.shape))
        memory += tensor.contiguous().view(torch.uint8).numpy().tobytes()
    heads = tuple(range(HEADS))
    return LayerAttention(
        Attention("m", "decoder", 0, "self_attention", "test", heads, **blocks), memory
    )


def triangle(queries: int, keys: int) -> Tensor:
    return torch.ones(queries, keys, dtype=torch.bool).tril()


@pytest.mark.parametrize("masked", MASKED)
@pytest.mark.parametrize("dtype", HALF_PRECISION)
def test_an_added_mask_leaves_the_same_choice_in_half_precision(
    dtype: torch.dtype, masked: float
) -> None:
    """The entropy is that of the keys that are left, by the formula in float64."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(HEADS, QUERIES, WIDTH, generator=generator).to(dtype)
    key = torch.randn(HEADS, KEYS, WIDTH, generator=generator).to(dtype)
    allowed = triangle(QUERIES, KEYS) | (torch.arange(KEYS) < 2)
    bias = torch.zeros(QUERIES, KEYS).masked_fill(~allowed, masked).to(dtype)

    layer = layer_of(query=query, key=key, bias=bias)
    analysis = analyze_layer(layer, average_side=QUERIES * KEYS, statistics_queries="all")

    logits = query.double() @ key.double().mT
    weights = logits.masked_fill(~allowed, -math.inf).softmax(-1)
    entropies = torch.special.entr(weights).sum(-1) / allowed.sum(-1).double().log()
    found = analysis.statistics.heads["entropy"]
    np.testing.assert_allclose(found, entropies.mean(-1), atol=1e-5)
    assert layer.allowed is not None
    assert np.array_equal(np.broadcast_to(layer.allowed[0], allowed.shape), allowed)
    assert analysis.average is not None
    assert np.array_equal(analysis.average.masked, ~allowed)


@pytest.mark.parametrize("masked", MASKED)
@pytest.mark.parametrize("dtype", HALF_PRECISION)
def test_the_training_process_reads_the_same_mask_as_causal(
    dtype: torch.dtype, masked: float
) -> None:
    query = torch.randn(HEADS, KEYS, WIDTH, dtype=dtype)
    bias = torch.zeros(KEYS, KEYS).masked_fill(~triangle(KEYS, KEYS), masked).to(dtype)
    call = AttentionCall("m", 0, "test", HEADS, query=query, key=query, bias=bias)
    assert is_causal(call)
    assert layer_of(query=query, key=query, bias=bias).allowed is not None


@pytest.mark.parametrize("dtype", [*HALF_PRECISION, torch.float32])
def test_both_processes_draw_the_line_at_the_same_bias(dtype: torch.dtype) -> None:
    """A bias just above or below the limit is a mask for both, or for neither."""
    query = torch.randn(HEADS, KEYS, WIDTH, dtype=dtype)
    for added in (-8_000.0, -8_960.0, -8_999.0, -9_001.0, -9_088.0, -9_984.0, -1e4):
        bias = torch.zeros(KEYS, KEYS).masked_fill(~triangle(KEYS, KEYS), added).to(dtype)
        call = AttentionCall("m", 0, "test", HEADS, query=query, key=query, bias=bias)
        renderer_allows_all = layer_of(query=query, key=query, bias=bias).allowed is None
        assert is_causal(call) is not renderer_allows_all, added
