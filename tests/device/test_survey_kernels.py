"""The kernels against float64, on the CPU in Triton's interpreter."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.surveyed import (
    exact_cells,
    exact_logits_of_cells,
    exact_parts,
    exact_weights,
    survey,
)
from torch import Tensor

from attnmon.device import survey_launch
from attnmon.device.layer_tensors import LayerTensors

pytest.importorskip("triton", reason="Triton has no wheel for this machine")
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

FLOAT = 1e-5
"""Largest difference of a mean over rows, relative to a mean above 1."""


def made(
    heads: int = 1, queries: int = 37, keys: int | None = None, width: int = 32, *,
    key_heads: int | None = None, dtype: torch.dtype = torch.float32, seed: int = 0,
) -> LayerTensors:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    keys = queries if keys is None else keys
    query = torch.randn(heads, queries, width, generator=generator) * 2
    key = torch.randn(key_heads or heads, keys, width, generator=generator)
    return LayerTensors(query.to(dtype), key.to(dtype), width**-0.5)


def check(layer: LayerTensors, side: int = 128, tile: int = 32) -> None:
    """Compare every sum and every cell with float64."""
    found, exact = survey(layer, side, tile), exact_parts(layer)
    _, _, keys = layer.shape
    counted = exact["counted"].clamp_min(1)
    unvisited = counted * keys - found.parts["visited"]
    spread = found.parts["squares"] + unvisited / keys**2
    parts = {**found.parts, "spread": spread}
    for name, expected in exact.items():
        is_extreme = name in ("min", "max")
        share = torch.ones(()) if is_extreme else counted
        found_mean, exact_mean = parts[name] / share, expected / share
        assert torch.allclose(found_mean, exact_mean, rtol=FLOAT, atol=FLOAT), (
            f"{name}: {found_mean} instead of {exact_mean}"
        )
    for vectors, lengths in (
        (layer.query, found.memory.query_lengths),
        (layer.key, found.memory.key_lengths),
    ):
        every = -(-vectors.shape[1] // 64)
        torch.testing.assert_close(lengths, vectors[:, ::every].float().norm(dim=2))
    cells = found.cells.abs().double()
    torch.testing.assert_close(cells, exact_cells(layer, side), rtol=2**-10, atol=1e-6)
    logits = exact_logits_of_cells(layer, side)
    torch.testing.assert_close(found.memory.logits.double(), logits, rtol=FLOAT, atol=FLOAT)
    check_strongest(layer, side, found.memory.strongest.long())
    assert found.parts["non_finite"].sum() == 0
    assert found.parts["row_sum_error"].max() < FLOAT


def check_strongest(layer: LayerTensors, side: int, found: Tensor) -> None:
    """Compare the weight of each row of cells' strongest key with its largest weight."""
    weights = exact_weights(layer)
    cells = weights.split(max(1, -(-weights.shape[1] // side)), 1)
    largest = torch.stack([cell.amax(1) for cell in cells], 1)
    of_found = largest.gather(-1, found[..., None])[..., 0]
    torch.testing.assert_close(of_found, largest.amax(-1), rtol=FLOAT, atol=FLOAT)


def window(length: int, back: int) -> Tensor:
    distance = torch.arange(length)[:, None] - torch.arange(length)
    return (distance >= 0) & (distance < back)


def alibi(heads: int, queries: int, keys: int) -> Tensor:
    distance = (torch.arange(queries)[:, None] - torch.arange(keys)).abs()
    return -distance * torch.tensor([2.0**-head for head in range(heads)])[:, None, None]


def padded(keys: int, real: int) -> Tensor:
    return (torch.arange(keys) < real)[None]


VARIANTS = {
    "plain": made(),
    "causal": replace(made(), causal=True),
    "more keys": made(queries=20, keys=45),
    "fewer keys": made(queries=45, keys=20),
    "earlier keys": replace(made(queries=20, keys=31), earlier=11),
    "causal, more keys": replace(made(queries=20, keys=31), causal=True),
    "causal, fewer keys": replace(made(queries=31, keys=20), causal=True),
    "grouped": replace(made(heads=4, key_heads=2), causal=True),
    "one key head": made(heads=2, key_heads=1),
    "softcap": replace(made(), softcap=5.0),
    "sinks": replace(made(), sinks=torch.tensor([3.0]), causal=True),
    "window": replace(made(), bias=window(37, 9)),
    "padding": replace(made(), bias=padded(37, 30), padding=torch.arange(37) >= 30),
    "declared padding": replace(
        made(), declared=(torch.arange(37) >= 33, torch.arange(37) >= 31)
    ),
    "mask a head": replace(made(heads=2), bias=torch.stack([window(37, 5), window(37, 20)])),
    "a row without a key": replace(made(), bias=window(37, 9) & (torch.arange(37) > 3)[:, None]),
    "alibi": replace(made(), bias=alibi(1, 37, 37), causal=True),
    "a row of minus infinity": replace(
        made(), bias=torch.where(window(37, 9) & (torch.arange(37) > 3)[:, None], 0.0, -math.inf)
    ),
    "a sink for a row without a key": replace(
        made(), sinks=torch.tensor([1.0]), bias=window(37, 9) & (torch.arange(37) > 3)[:, None]
    ),
    "a window that is longer": replace(made(), bias=window(37, 100)),
    "keys of one head for all": replace(made(heads=2), key=made().key.expand(2, -1, -1)),
    "one key at all positions": replace(made(), key=made().key[:, :1].expand(-1, 37, -1)),
    "one query": replace(made(queries=1, keys=100), earlier=99),
    "minus infinity": replace(made(), bias=torch.where(window(37, 9), 0.0, -math.inf)),
    "minus ten thousand": replace(made(), bias=torch.where(window(37, 9), 0.5, -1e4).bfloat16()),
    "all": replace(
        made(heads=2, key_heads=1, width=48), causal=True, softcap=8.0, sinks=torch.randn(2),
        bias=alibi(2, 37, 37), padding=torch.arange(37) < 5,
    ),
    "large logits": replace(made(), scale=40.0),
}  # fmt: skip


SEVERAL_TILES = ("plain", "causal", "window", "sinks", "padding")
"""The others are in one tile: each takes the interpreter some 10 ms a head."""


@pytest.mark.parametrize("name", VARIANTS)
def test_every_mask_and_option_is_as_in_float64(name: str) -> None:
    check(VARIANTS[name], side=16, tile=32 if name in SEVERAL_TILES else 64)


@pytest.mark.parametrize(
    ("dtype", "key_dtype"),
    [
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.float32),
    ],
)
def test_half_precision_is_read_as_it_is_and_summed_in_float32(
    dtype: torch.dtype, key_dtype: torch.dtype
) -> None:
    """Their products are exact in float32: nothing is lost but what the model rounded itself."""
    layer = made(dtype=dtype)
    check(replace(layer, key=layer.key.to(key_dtype), causal=True))


def dot_of_bfloat16(self: Any, a: Any, b: Any, d: Any, *how: Any) -> Any:
    """Multiply as a tensor core does: products in full, sums in float32."""
    one, other = (widened(each) if each.dtype == tl.bfloat16 else each.data for each in (a, b))
    return TensorHandle(np.matmul(one, other, dtype=np.float32) + d.data, d.dtype.scalar)


def widened(handle: Any) -> Any:
    return (handle.data.astype(np.uint32) << 16).view(np.float32)


@pytest.fixture
def tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the interpreter multiply bfloat16 as it is, as devices do; it has no such type."""
    both = {torch.float16, torch.bfloat16}
    monkeypatch.setattr(survey_launch, "_multiplied", lambda is_cuda: both)
    monkeypatch.setattr(InterpreterBuilder, "create_dot", dot_of_bfloat16)


@pytest.mark.usefixtures("tensor_cores")
def test_bfloat16_is_multiplied_as_it_is() -> None:
    """A product of two numbers of 8 bits has 16, and float32 has 24."""
    layer = made(heads=2, key_heads=1, width=64, dtype=torch.bfloat16)
    check(replace(layer, causal=True, softcap=8.0))


@pytest.mark.usefixtures("tensor_cores")
def test_what_bfloat16_loses_is_what_its_rounding_loses() -> None:
    """A factor is off by 2⁻⁸ of itself at most, so a logit by what its products sum up to."""
    exact = replace(made(width=64), causal=True)
    rounded = replace(exact, query=exact.query.bfloat16(), key=exact.key.bfloat16())
    found = survey(rounded).memory.logits.double()
    unit = 2.0**-8
    products = (exact.query.double().abs() @ exact.key.double().abs().mT) * exact.scale
    most = (2 * unit + unit**2) * products.tril().amax(-1) + FLOAT
    assert ((found - exact_logits_of_cells(exact, 128)).abs() <= most[:, None]).all()


def test_queries_of_bfloat16_may_be_huge() -> None:
    layer = made(dtype=torch.bfloat16)
    check(replace(layer, query=layer.query * 1e4, causal=True))


def test_one_query_of_4096_keys() -> None:
    layer = made(heads=2, queries=1, keys=4096, key_heads=1, width=16)
    check(replace(layer, earlier=4095, sinks=torch.randn(2)), tile=512)


def test_a_layer_of_4096_positions_is_as_in_float64() -> None:
    """In wide tiles: what the interpreter takes is for each of them."""
    layer = replace(made(queries=4096), causal=True)
    found = survey(layer, side=128, tile=512)
    weights = exact_weights(layer)
    entropy = -torch.xlogy(weights, weights).sum(-1)
    for name, expected in (
        ("effective_keys", entropy.exp()), ("first_token", weights[..., 0]),
        ("mass", weights.sum(-1)),
    ):  # fmt: skip
        mean = found.parts[name] / 4096
        torch.testing.assert_close(mean, expected.mean(-1), rtol=FLOAT, atol=FLOAT)
    pooled = weights.view(1, 128, 32, 128, 32).sum(-1).mean(2)
    torch.testing.assert_close(found.cells.abs().double(), pooled, rtol=2**-10, atol=1e-6)
    logits = exact_logits_of_cells(layer, 128)
    torch.testing.assert_close(found.memory.logits.double(), logits, rtol=FLOAT, atol=FLOAT)


@pytest.mark.parametrize("width", [1, 40, 64, 128, 256])
def test_every_width_is_read_to_its_end_and_not_beyond(width: int) -> None:
    check(made(queries=20, width=width))


@pytest.mark.parametrize(
    ("queries", "keys", "side"), [(1, 1, 128), (1, 40, 8), (40, 1, 8), (33, 65, 128), (70, 69, 2)]
)
def test_odd_lengths_are_pooled_to_their_last_position(queries: int, keys: int, side: int) -> None:
    """The last one: cells of more positions than a tile."""
    check(made(queries=queries, keys=keys, width=16), side)


def test_a_long_causal_layer_leaves_out_tiles_and_no_weight() -> None:
    check(replace(made(queries=200, width=16), causal=True), side=9, tile=64)


def test_of_64_heads_each_has_its_own_results() -> None:
    check(replace(made(heads=64, key_heads=8, queries=5, width=16), causal=True), tile=16)


def test_tensors_are_read_where_they_lie() -> None:
    """Heads beside each other in memory, keys that were transposed, of one sample of several."""
    generator = torch.Generator().manual_seed(0)
    packed = torch.randn(3, 21, 2, 3, 24, generator=generator)  # sample, position, part, head
    query, key = packed[1].permute(1, 2, 0, 3)
    turned = key.mT.contiguous().mT
    check(LayerTensors(query[:, :, 4:20], turned[:, :, 4:20], 0.25))


def any_mask(kind: str, queries: int, keys: int, seed: int) -> Tensor | None:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, keys) if kind == "of keys" else (2, queries, keys)
    chosen = torch.rand(shape, generator=generator)
    return {"none": None, "added": torch.where(chosen < 0.8, chosen, -math.inf)}.get(
        kind, chosen < 0.8
    )


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    queries=st.integers(1, 50), keys=st.integers(1, 50), width=st.integers(1, 40),
    side=st.integers(1, 50), causal=st.booleans(), sinks=st.booleans(),
    softcap=st.sampled_from([0.0, 3.0]), seed=st.integers(0, 99),
    mask=st.sampled_from(["none", "bool", "added", "of keys"]),
)  # fmt: skip
def test_any_shape_and_options_are_as_in_float64(
    queries: int, keys: int, width: int, side: int, causal: bool, sinks: bool, softcap: float,
    seed: int, mask: str,
) -> None:  # fmt: skip
    layer = replace(
        made(2, queries, keys, width, key_heads=1, seed=seed), causal=causal, softcap=softcap,
        sinks=torch.tensor([1.0, -1.0]) if sinks else None,
        bias=any_mask(mask, queries, keys, seed),
    )  # fmt: skip
    check(layer, side)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_stays_visible(value: float) -> None:
    layer = made(queries=20)
    layer.query[0, 7, 3] = value
    found = survey(layer)
    assert found.parts["non_finite"].item() == 20
    assert math.isnan(found.parts["mass"].item())
    cells = found.cells[0]
    assert torch.isnan(cells[7]).all()
    assert not torch.isnan(cells[:7]).any()


def test_cells_that_nobody_may_see_are_marked() -> None:
    """Those of the future, of a mask, and of queries that are padding."""
    bias = torch.ones(24, 24).bool()
    bias[:, 20:] = False
    layer = replace(made(queries=24), bias=bias, causal=True, padding=torch.arange(24) >= 20)
    marked = torch.signbit(survey(layer, side=6).cells[0])
    expected = ~torch.ones(6, 6).tril().bool()
    expected[5], expected[:, 5] = True, True
    assert torch.equal(marked, expected)


@pytest.mark.parametrize("name", ["plain", "more keys", "grouped", "sinks", "softcap"])
def test_weights_of_the_first_queries_are_those_of_float64(name: str) -> None:
    layer = VARIANTS[name]
    memory = survey(layer, side=16, tile=64, window=True).memory
    weights = exact_weights(layer)
    torch.testing.assert_close(memory.window.double(), weights[:, :8], rtol=FLOAT, atol=1e-7)
    received = memory.sent[-2].abs().double()
    torch.testing.assert_close(received, weights.sum(1), rtol=FLOAT, atol=1e-6)


def test_of_fewer_queries_than_a_window_has_all_are_sent() -> None:
    layer = made(queries=3, keys=20)
    window = survey(layer, window=True).memory.window
    torch.testing.assert_close(window.double(), exact_weights(layer), rtol=FLOAT, atol=1e-7)
    assert survey(layer).memory.window.shape == (1, 0, 0)
