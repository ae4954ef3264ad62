"""Pooled maps against a plain pooling of the whole map, and what an analysis promises."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.layer_analysis import Pooling, analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention

Array = np.ndarray[Any, Any]


def layer_of(causal: bool = False, **arrays: Array) -> LayerAttention:
    memory = b""
    blocks: dict[str, Any] = {}
    for name, array in arrays.items():
        blocks[name] = ArrayBlock(len(memory), str(array.dtype), array.shape)
        memory += array.tobytes()
    heads = tuple(range(len(arrays.get("weights", arrays.get("query", ())))))
    message = Attention(
        "m", "decoder", 0, "cross_attention", "test", heads, **blocks, causal=causal
    )
    return LayerAttention(message, memory)


def random_layer(
    seed: int, heads: int, queries: int, keys: int, causal: bool = False, **arrays: Array
) -> LayerAttention:
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((heads, queries, 4), np.float32)
    key = rng.standard_normal((heads, keys, 4), np.float32)
    return layer_of(causal, query=query, key=key, **arrays)


def pool(weights: Array, side: int, pooling: Pooling) -> Array:
    """One map [queries, keys], cell by cell."""
    steps = [math.ceil(n / side) for n in weights.shape]
    cells = [
        [weights[i : i + steps[0], j : j + steps[1]] for j in range(0, weights.shape[1], steps[1])]
        for i in range(0, weights.shape[0], steps[0])
    ]
    value = np.max if pooling == "max" else mass
    return np.array([[value(cell) for cell in row] for row in cells])


def mass(cell: Array) -> float:
    return float(cell.sum(axis=1).mean())


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 100), st.integers(1, 100)),
    sides=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    causal=st.booleans(),
    pooling=st.sampled_from(["mass", "max"]),
    data=st.data(),
)
def test_pooled_maps_are_those_of_the_whole_map(
    seed: int,
    shape: tuple[int, int, int],
    sides: tuple[int, int],
    causal: bool,
    pooling: Pooling,
    data: st.DataObject,
) -> None:
    layer = random_layer(seed, *shape, causal)
    heads = data.draw(st.lists(st.integers(0, shape[0] - 1), unique=True))
    found = analyze_layer(
        layer, average_side=sides[0], head_side=sides[1], heads=heads, pooling=pooling
    )
    weights = layer.full().astype(np.float64)
    assert found.average is not None
    assert found.per_head is not None
    average = pool(weights.mean(axis=0), sides[0], pooling)
    np.testing.assert_allclose(found.average.values, average, atol=1e-6)
    assert len(found.per_head.values) == len(heads)
    for values, head in zip(found.per_head.values, heads, strict=True):
        np.testing.assert_allclose(values, pool(weights[head], sides[1], pooling), atol=1e-6)
    if pooling == "mass":
        np.testing.assert_allclose(found.average.values.sum(axis=1), 1, rtol=1e-5)


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    side=st.integers(1, 80),
    causal=st.booleans(),
    by_head=st.booleans(),
)
def test_a_cell_is_masked_when_no_query_in_it_may_attend_to_any_key_in_it(
    seed: int, shape: tuple[int, int], side: int, causal: bool, by_head: bool
) -> None:
    bias = np.random.default_rng(seed).random((3 if by_head else 1, *shape)) < 0.1
    found = analyze_layer(
        random_layer(seed, 3, *shape, causal, bias=bias), average_side=side
    ).average
    past = np.tri(*shape, dtype=bool) if causal else np.ones(shape, bool)
    allowed = np.logical_and(bias.any(axis=0), past)
    assert found is not None
    np.testing.assert_array_equal(found.masked, pool(allowed, side, "max") == 0)


@pytest.mark.parametrize("pooling", ["mass", "max"])
def test_cells_may_lie_across_tiles(pooling: Pooling) -> None:
    """700 queries in cells of 14 and 9; tiles of 128, and not of all heads for the later ones."""
    bias = np.random.default_rng(0).random((5, 700, 700)) < 0.001
    bias[:, :, 0] = True
    layer = random_layer(0, 5, 700, 700, causal=True, bias=bias)
    found = analyze_layer(layer, average_side=50, head_side=80, heads=[4, 0], pooling=pooling)
    assert found.average is not None
    assert found.per_head is not None
    weights = layer.full().astype(np.float64)
    average = pool(weights.mean(axis=0), 50, pooling)
    np.testing.assert_allclose(found.average.values, average, atol=1e-6)
    for values, head in zip(found.per_head.values, [4, 0], strict=True):
        np.testing.assert_allclose(values, pool(weights[head], 80, pooling), atol=1e-6)
    allowed = bias.any(axis=0) & np.tri(700, dtype=bool)
    np.testing.assert_array_equal(found.average.masked, pool(allowed, 50, "max") == 0)


def test_what_is_masked_is_known_of_weights_too() -> None:
    weights = np.tri(10, 20, dtype=np.float32)
    found = analyze_layer(layer_of(causal=True, weights=weights[None]), average_side=4).average
    assert found is not None
    np.testing.assert_array_equal(found.masked, pool(weights, 4, "max") == 0)


def test_thin_lines_keep_their_weight() -> None:
    """A diagonal of 0.6 and a first key of 0.3, pooled eightfold; a mean would leave 0.08."""
    weights = 0.6 * np.eye(64) + 0.1 / 64
    weights[:, 0] += 0.3
    found = analyze_layer(
        layer_of(weights=weights[None].astype(np.float32)), average_side=8
    ).average
    assert found is not None
    assert found.values[4, 4] == pytest.approx(0.6 + 0.1 / 8, abs=1e-6)
    assert found.values[4, 0] == pytest.approx(0.3 + 0.1 / 8, abs=1e-6)
    assert (found.query_step, found.key_step, found.pooling) == (8, 8, "mass")


@pytest.mark.parametrize("pooling", ["mass", "max"])
def test_nan_stays_in_its_cell(pooling: Pooling) -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 2, 40, 4), np.float32)
    query[1, 13] = np.nan
    found = analyze_layer(
        layer_of(query=query, key=key), average_side=40, head_side=10, pooling=pooling
    )
    assert found.average is not None
    assert found.per_head is not None
    assert np.flatnonzero(np.isnan(found.average.values).any(axis=1)).tolist() == [13]
    assert np.argwhere(np.isnan(found.per_head.values).any(axis=2)).tolist() == [[1, 3]]


def test_without_maps_some_queries_are_enough_and_it_is_said_how_many() -> None:
    layer = random_layer(0, 1, 3000, 8)
    found = analyze_layer(layer).statistics
    assert found.queries_used == 1024
    assert found == analyze_layer(layer).statistics
    every = analyze_layer(layer, statistics_queries="all").statistics
    assert every.queries_used is None
    assert found.heads["entropy"] == pytest.approx(every.heads["entropy"], abs=0.02)
    assert analyze_layer(layer, statistics_queries=3000).statistics == every


def test_with_maps_every_query_counts() -> None:
    layer = random_layer(0, 1, 3000, 8)
    every = analyze_layer(layer, statistics_queries="all").statistics
    assert analyze_layer(layer, average_side=64).statistics == every


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 5, 0), (0, 5, 5), (1, 1, 1)])
def test_the_smallest_shapes(shape: tuple[int, int, int]) -> None:
    layer = layer_of(weights=np.ones(shape, np.float32))
    found = analyze_layer(layer, average_side=4, head_side=4)
    assert found.average is not None
    assert found.per_head is not None
    expected = tuple(min(n, math.ceil(n / max(1, math.ceil(n / 4)))) for n in shape[1:])
    assert found.average.values.shape == found.average.masked.shape == expected
    assert found.per_head.values.shape == (shape[0], *expected)


def test_only_what_is_asked_for_is_made() -> None:
    found = analyze_layer(random_layer(0, 2, 5, 5), head_side=8)
    assert found.average is None
    assert found.per_head is not None
    assert analyze_layer(random_layer(0, 2, 5, 5)).per_head is None


@pytest.mark.parametrize("heads", [[2], [-1]])
def test_a_head_that_was_not_sent_is_refused(heads: list[int]) -> None:
    with pytest.raises(ValueError, match="positions among the 2 that were sent"):
        analyze_layer(random_layer(0, 2, 5, 5), head_side=8, heads=heads)


def test_a_side_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cell a side at least, not 0"):
        analyze_layer(random_layer(0, 2, 5, 5), head_side=0)


def test_a_long_sequence_takes_a_sixteenth_of_its_map_at_most() -> None:
    length = 4096
    layer = random_layer(0, 2, length, length, causal=True)
    tracemalloc.start()
    try:
        analyze_layer(layer, average_side=256, head_side=128)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * length**2 * 4 / 16
