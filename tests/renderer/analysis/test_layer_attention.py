"""A message's attention, computed from the ring, against float64."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.layer_attention import LayerAttention

Array = np.ndarray[Any, Any]


@dataclass
class Given:
    """Arrays and settings of one layer; `arrays` as they are sent."""

    arrays: dict[str, Array]
    dtypes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def layer(self) -> LayerAttention:
        memory = b"before the arrays"
        blocks: dict[str, Any] = {}
        for name, array in self.arrays.items():
            memory += bytes(-len(memory) % 8)
            dtype = self.dtypes.get(name, str(array.dtype))
            blocks[name] = ArrayBlock(len(memory), dtype, array.shape)
            memory += array.tobytes()
        heads = len(next(iter(self.arrays.values())))  # of the weights or the query
        return LayerAttention(attention(heads, **blocks, **self.settings), memory)


def attention(heads: int, **about: Any) -> Attention:
    sent = tuple(range(heads))
    return Attention("m", "decoder", 0, "self_attention", "test", sent, **about)


def reference(given: Given) -> torch.Tensor:
    """[heads, queries, keys] in float64, in the order that the field uses."""
    arrays = {name: torch.from_numpy(array.copy()) for name, array in given.arrays.items()}
    query, key = arrays["query"].double(), arrays["key"].double()
    key = key.repeat_interleave(len(query) // max(len(key), 1), dim=0)
    logits = query @ key.mT * given.settings.get("scale", 1.0)
    softcap = given.settings.get("softcap", 0.0)
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    bias = arrays.get("bias", torch.zeros(()))
    hidden = ~bias if bias.dtype == torch.bool else bias == -torch.inf
    hidden = hidden.expand(logits.shape)
    if given.settings.get("causal", False):
        hidden = hidden | torch.ones_like(hidden).triu(1)
    logits = logits if bias.dtype == torch.bool else logits + bias
    logits = logits.masked_fill(hidden, -torch.inf)
    if "sinks" in arrays:
        column = arrays["sinks"].double()[:, None, None].expand(*logits.shape[:2], 1)
        logits = torch.cat([logits, column], dim=2)
    weights: torch.Tensor = logits.softmax(dim=2)[:, :, : hidden.shape[2]]
    return weights.masked_fill(hidden.all(dim=2, keepdim=True), 0.0)


def from_tiles(layer: LayerAttention, size: int) -> Array:
    weights = np.full(layer.shape, np.nan, np.float32)
    for tile in layer.tiles(size=size):
        weights[tile.heads, tile.rows.indices] = tile.weights(layer.shape[2])
    return weights


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


@st.composite
def layers(draw: st.DrawFn) -> Given:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    key_heads, served = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    heads, queries, keys = key_heads * served, draw(st.integers(1, 80)), draw(st.integers(1, 80))
    width = draw(st.integers(1, 9))
    arrays = {
        "query": normal(rng, heads, queries, width),
        "key": normal(rng, key_heads, keys, width),
    }
    kind = draw(st.sampled_from(["none", "bool", "float", "minimum"]))
    if kind != "none":
        full = (heads, queries, keys)
        shape = tuple(draw(st.sampled_from([1, n])) for n in full)[draw(st.integers(0, 3)) :]
        arrays["bias"] = bias_of(kind, rng.random(shape) < 0.7, normal(rng, *shape))
    if draw(st.booleans()):
        arrays["sinks"] = normal(rng, heads)
    settings = {
        "scale": draw(st.floats(0.01, 3)),
        "causal": draw(st.booleans()),
        "softcap": draw(st.sampled_from([0.0, 2.0, 50.0])),
    }
    return Given(arrays, {}, settings)


def bias_of(kind: str, allowed: Array, values: Array) -> Array:
    if kind == "bool":
        return np.asarray(allowed)
    lowest = -np.inf if kind == "float" else np.finfo(np.float32).min
    return np.asarray(np.where(allowed, values, np.float32(lowest)))


@given(layers(), st.sampled_from([1, 500, 10_000, 2**18]))
def test_weights_are_those_of_float64_whatever_the_shapes_masks_and_tiles(
    given: Given, size: int
) -> None:
    layer = given.layer()
    weights = from_tiles(layer, size)
    np.testing.assert_allclose(weights, reference(given), atol=2e-6)
    if "sinks" not in given.arrays:
        sums = weights.sum(axis=2)
        assert np.all(np.isclose(sums, 1, atol=1e-5) | (sums == 0))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(4, 50, 50), (4, 33, 80), (4, 80, 33)])
def test_weights_are_those_that_sdpa_uses(causal: bool, shape: tuple[int, int, int]) -> None:
    """SDPA on an identity as values gives its own weights: causality is aligned at the top left."""
    heads, queries, keys = shape
    rng = np.random.default_rng(0)
    given = Given(
        {"query": normal(rng, heads, queries, 16), "key": normal(rng, 2, keys, 16)},
        settings={"scale": 0.25, "causal": causal},
    )
    query, key = (torch.from_numpy(given.arrays[name])[None].double() for name in ("query", "key"))
    eye = torch.eye(keys, dtype=torch.float64).expand(1, 2, keys, keys)
    seen = F.scaled_dot_product_attention(query, key, eye, is_causal=causal, enable_gqa=True)
    np.testing.assert_allclose(given.layer().full(), seen[0], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_formats_are_read_as_what_they_are(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 40, 8, generator=generator).to(dtype)
    key = torch.randn(2, 40, 8, generator=generator).to(dtype)
    sent = {"query": query, "key": key}
    given = Given(
        {
            n: t.view(torch.uint16).numpy() if dtype == torch.bfloat16 else t.numpy()
            for n, t in sent.items()
        },
        dict.fromkeys(sent, str(dtype).removeprefix("torch.")),
    )
    expected = (query.double() @ key.double().mT).softmax(dim=2)
    np.testing.assert_allclose(given.layer().full(), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_weights_that_are_sent_are_given_as_they_are(dtype: torch.dtype) -> None:
    weights = (
        torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0)).softmax(dim=2).to(dtype)
    )
    name = str(dtype).removeprefix("torch.")
    raw = weights.view(torch.uint16) if dtype == torch.bfloat16 else weights
    layer = Given({"weights": raw.numpy()}, {"weights": name}, {"causal": True}).layer()
    np.testing.assert_array_equal(layer.full(), weights.float())
    np.testing.assert_array_equal(from_tiles(layer, 1), weights.float())


def test_float32_weights_are_read_from_the_ring_without_a_copy() -> None:
    memory = np.zeros(4 * 2 * 40 * 40, np.uint8)
    memory.flags.writeable = False
    block = ArrayBlock(0, "float32", (2, 40, 40))
    layer = LayerAttention(attention(2, weights=block), memory)
    assert all(np.shares_memory(tile.numerators, memory) for tile in layer.tiles(size=1))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 0, 5), (2, 5, 0), (0, 5, 5), (2, 0, 0)])
def test_the_smallest_shapes(shape: tuple[int, int, int]) -> None:
    heads, queries, keys = shape
    rng = np.random.default_rng(0)
    arrays = {"query": normal(rng, heads, queries, 4), "key": normal(rng, max(heads, 1), keys, 4)}
    weights = Given(arrays).layer().full()
    assert weights.shape == shape
    assert np.all(weights == 1)


def test_a_width_of_zero_is_uniform() -> None:
    given = Given(
        {"query": np.zeros((1, 3, 0), np.float32), "key": np.zeros((1, 4, 0), np.float32)}
    )
    np.testing.assert_array_equal(given.layer().full(), np.full((1, 3, 4), 0.25))


def small(**settings: Any) -> Given:
    rng = np.random.default_rng(0)
    arrays = {"query": normal(rng, 2, 6, 4), "key": normal(rng, 2, 6, 4)}
    return Given(arrays, settings=settings)


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_row_that_may_attend_to_nothing_is_zero(kind: str) -> None:
    given = small()
    allowed = np.arange(6)[:, None] != 2
    given.arrays["bias"] = bias_of(kind, allowed, np.zeros((6, 1), np.float32))
    weights = given.layer().full()
    assert np.all(weights[:, 2] == 0)
    np.testing.assert_allclose(np.delete(weights, 2, axis=1).sum(axis=2), 1, rtol=1e-6)


def test_a_row_masked_by_the_lowest_finite_number_is_uniform_as_in_the_model() -> None:
    given = small()
    given.arrays["bias"] = np.full((6, 6), np.finfo(np.float32).min)
    np.testing.assert_allclose(given.layer().full(), 1 / 6, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_query_breaks_its_row_visibly_and_no_other(value: float) -> None:
    given = small(causal=True)
    given.arrays["query"][1, 3] = value
    weights = given.layer().full()
    assert np.isnan(weights[1, 3, :4]).all()
    weights[1, 3] = 0
    assert np.isfinite(weights).all()


def test_a_broken_key_of_the_future_is_not_seen() -> None:
    given = small(causal=True)
    given.arrays["key"][0, 4] = np.nan
    weights = given.layer().full()
    assert np.isfinite(weights[0, :4]).all()
    assert np.isnan(weights[0, 4:, :5]).all()


def test_large_logits_do_not_overflow() -> None:
    given = small(scale=1e6)
    np.testing.assert_allclose(given.layer().full(), reference(given), atol=1e-6)


def test_a_sink_far_above_all_logits_takes_everything() -> None:
    given = small()
    given.arrays["sinks"] = np.array([200, -200], np.float32)
    np.testing.assert_allclose(given.layer().full(), reference(given), atol=1e-6)


def test_memory_that_ends_too_early_is_refused() -> None:
    message = small().layer().attention
    layer = LayerAttention(
        replace(message, query=ArrayBlock(10_000, "float32", (2, 6, 4))), bytes(500)
    )
    with pytest.raises(ValueError, match="of the ring, of which 500 are mapped here"):
        layer.full()


@pytest.fixture
def all_warnings() -> Iterator[None]:
    """numpy's own settings may be stricter than the warnings filter."""
    with np.errstate(all="raise"):
        yield


@pytest.mark.usefixtures("all_warnings")
def test_numpy_is_never_heard() -> None:
    given = small(softcap=1e-30, scale=1e30)
    given.arrays["query"][0] = np.inf
    given.layer().full()
