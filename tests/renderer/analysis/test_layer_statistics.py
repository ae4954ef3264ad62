"""Each statistic against its formula in float64, and against maps whose statistics are known."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.sinks.statistics_json import strict

Array = np.ndarray[Any, Any]

TOLERANCE = 1e-5


def layer_of(causal: bool = False, scale: float = 1.0, **arrays: Array) -> LayerAttention:
    memory = b""
    blocks: dict[str, Any] = {}
    for name, array in arrays.items():
        blocks[name] = ArrayBlock(len(memory), str(array.dtype), array.shape)
        memory += array.tobytes()
    heads = tuple(range(len(arrays.get("weights", arrays.get("query", ())))))
    message = Attention(
        "m", "decoder", 0, "cross_attention", "test", heads, **blocks, causal=causal, scale=scale
    )
    return LayerAttention(message, memory)


def statistics_of(layer: LayerAttention) -> LayerStatistics:
    return analyze_layer(layer, statistics_queries="all").statistics


def reference(weights: Array, allowed: Array, positions: Array) -> dict[str, Array]:
    """Per head, from weights [heads, queries, keys] in float64 and who may attend to whom."""
    keys = np.arange(weights.shape[2])
    entropies = -np.sum(weights * np.log(np.where(weights > 0, weights, 1)), axis=2)
    choices = np.broadcast_to(allowed, weights.shape).sum(axis=2)
    with np.errstate(all="ignore"):
        normalised = entropies / np.log(choices)
    nearest = np.minimum(np.rint(positions).astype(int), len(keys) - 1)
    rows = {
        "effective_keys": np.exp(entropies),
        "first_token": weights[:, :, 0],
        "distance": np.sum(weights * abs(positions[:, None] - keys), axis=2),
        "diagonal": weights[:, np.arange(len(positions)), nearest],
    }
    means = {name: mean(values, choices > 0) for name, values in rows.items()}
    return {"entropy": mean(normalised, choices > 1), **means}


def mean(values: Array, counted: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.where(counted, values, 0).sum(axis=1) / counted.sum(axis=1))


def softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True, initial=-1e300))
    sums = exponentials.sum(axis=2, keepdims=True)
    return np.asarray(exponentials / np.where(sums == 0, 1, sums))


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 150), st.integers(1, 150)),
    causal=st.booleans(),
    padded=st.booleans(),
    scale=st.sampled_from([0.0, 0.1, 1.0, 4.0]),
)
def test_all_agree_with_float64(
    seed: int, shape: tuple[int, int, int], causal: bool, padded: bool, scale: float
) -> None:
    heads, queries, keys = shape
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((heads, queries, 8), np.float32)
    key = rng.standard_normal((heads, keys, 8), np.float32)
    bias = rng.random((1, 1, keys)) < (0.8 if padded else 1)
    found = statistics_of(layer_of(causal, scale, query=query, key=key, bias=bias))

    allowed = np.broadcast_to(bias & np.tri(queries, keys, dtype=bool) if causal else bias, shape)
    logits = scale * query.astype(np.float64) @ key.astype(np.float64).transpose(0, 2, 1)
    weights = softmax(np.where(allowed, logits, -np.inf))
    positions = np.arange(queries) * (1 if causal else keys / queries)
    compare(found, weights, allowed, positions)
    peaks = np.where(allowed, logits, -np.inf).max(axis=(1, 2))
    np.testing.assert_allclose(
        found.heads["max_logit"], np.where(np.isinf(peaks), np.nan, peaks), rtol=1e-5, atol=1e-5
    )
    assert found.row_sum_error < TOLERANCE
    assert found.non_finite == 0


def compare(found: LayerStatistics, weights: Array, allowed: Array, positions: Array) -> None:
    whole = (weights.mean(), weights.std(), weights.min(), weights.max())
    given = (found.mean, found.std, found.min, found.max)
    np.testing.assert_allclose(given, whole, atol=TOLERANCE)
    for name, values in reference(weights, allowed, positions).items():
        np.testing.assert_allclose(
            found.heads[name], values, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name
        )


@given(seed=st.integers(0, 2**32), queries=st.integers(1, 40), keys=st.integers(1, 40))
def test_weights_that_are_sent_have_the_same_statistics(seed: int, queries: int, keys: int) -> None:
    weights = softmax(3 * np.random.default_rng(seed).standard_normal((2, queries, keys)))
    found = statistics_of(layer_of(weights=weights.astype(np.float32)))
    compare(found, weights, np.ones((1, 1, 1)), np.arange(queries) * (keys / queries))
    assert np.isnan(found.heads["max_logit"]).all()


SIZE = 64
CAUSAL_UNIFORM = np.tri(SIZE) / np.arange(1, SIZE + 1)[:, None]
FIRST = np.eye(SIZE)[np.zeros(SIZE, int)]
MAPS = {
    "uniform": (CAUSAL_UNIFORM, {"entropy": 1.0, "first_token": 0.074, "effective_keys": 32.5}),
    "previous": (
        np.eye(SIZE)[np.maximum(np.arange(SIZE) - 1, 0)],
        {"entropy": 0, "first_token": 0.031},
    ),
    "first": (FIRST, {"entropy": 0, "first_token": 1, "distance": 31.5, "effective_keys": 1}),
    "diagonal": (np.eye(SIZE), {"entropy": 0, "first_token": 0.016, "diagonal": 1, "distance": 0}),
    "half first": ((FIRST + CAUSAL_UNIFORM) / 2, {"entropy": 0.691, "first_token": 0.537}),
}


@pytest.mark.parametrize("name", MAPS)
def test_known_maps(name: str) -> None:
    weights, expected = MAPS[name]
    found = statistics_of(layer_of(causal=True, weights=weights[None].astype(np.float32)))
    for statistic, value in expected.items():
        assert found.heads[statistic] == pytest.approx([value], abs=5e-4), statistic


def test_a_uniform_map_of_few_keys_has_no_spread_to_five_decimals() -> None:
    """In single precision the difference of squares would leave 1e-4 here."""
    for keys in (3, 7, 100, 129):
        query = np.zeros((1, 500, 4), np.float32)
        found = statistics_of(layer_of(query=query, key=np.ones((1, keys, 4), np.float32)))
        assert found.std < TOLERANCE


def test_a_long_sequence_keeps_five_decimals() -> None:
    keys = 32_768
    rng = np.random.default_rng(0)
    query = rng.standard_normal((1, 16, 8), np.float32)
    key = rng.standard_normal((1, keys, 8), np.float32)
    found = statistics_of(layer_of(query=query, key=key))
    weights = softmax(query.astype(np.float64) @ key.astype(np.float64).transpose(0, 2, 1))
    compare(found, weights, np.ones((1, 1, 1)), np.arange(16) * (keys / 16))


def test_what_went_to_a_sink_is_no_error_of_the_row_sum() -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 2, 9, 4), np.float32)
    sinks = np.array([0, 30], np.float32)
    found = statistics_of(layer_of(query=query, key=key, sinks=sinks))
    assert found.row_sum_error < 1e-6
    logits = query.astype(np.float64) @ key.astype(np.float64).transpose(0, 2, 1)
    column = np.broadcast_to(sinks[:, None, None], (2, 9, 1))
    weights = softmax(np.concatenate([logits, column], axis=2))[:, :, :9]
    compare(found, weights, np.ones((1, 1, 1)), np.arange(9))


@pytest.mark.parametrize("masked", [-np.inf, np.finfo(np.float32).min, -65_504.0, -10_000.0])
def test_each_way_to_mask_leaves_the_same_choice(masked: float) -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 2, 9, 4), np.float32)
    allowed = np.arange(9) < 5
    bias = np.where(allowed, 0, masked).astype(np.float32)
    found = statistics_of(layer_of(query=query, key=key, bias=bias))
    expected = statistics_of(layer_of(query=query, key=key, bias=allowed))
    assert found.heads["entropy"] == pytest.approx(expected.heads["entropy"])
    assert found.heads["max_logit"] == expected.heads["max_logit"]


def test_rows_that_are_no_softmax_are_told() -> None:
    found = statistics_of(layer_of(weights=np.full((1, 3, 4), 0.3, np.float32)))
    assert found.row_sum_error == pytest.approx(0.2, abs=1e-6)


def test_padded_rows_are_zeros_in_the_map_and_no_part_of_the_heads() -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 1, 5, 4), np.float32)
    bias = np.array([True, True, True, False, False])[None, :, None]
    found = statistics_of(layer_of(query=query, key=key, bias=bias))
    assert found.min == 0
    assert found.mean == pytest.approx(3 / 25)
    whole = softmax(query.astype(np.float64) @ key.astype(np.float64).transpose(0, 2, 1))
    np.testing.assert_allclose(found.heads["first_token"], whole[:, :3, 0].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_counted_and_null_in_json(value: float) -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 2, 5, 4), np.float32)
    query[0, 3] = value
    found = statistics_of(layer_of(query=query, key=key))
    assert found.non_finite == 5
    document = json.loads(json.dumps(strict(asdict(found)), allow_nan=False))
    assert document["mean"] is document["max"] is document["heads"]["entropy"][0] is None
    assert document["heads"]["entropy"][1] == found.heads["entropy"][1]
    assert found.row_sum_error < 1e-6


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 5, 0), (0, 5, 5)])
def test_of_nothing_there_is_nothing_to_say(shape: tuple[int, int, int]) -> None:
    found = statistics_of(layer_of(weights=np.zeros(shape, np.float32)))
    assert math.isnan(found.mean)
    assert math.isnan(found.min)
    assert all(len(values) == shape[0] for values in found.heads.values())
    assert json.loads(json.dumps(strict(asdict(found)), allow_nan=False))["max"] is None


def test_one_by_one() -> None:
    found = statistics_of(layer_of(weights=np.ones((1, 1, 1), np.float32)))
    assert (found.mean, found.std, found.min, found.max) == (1, 0, 1, 1)
    assert math.isnan(found.heads["entropy"][0])  # a single key is no choice
    assert found.heads["effective_keys"] == [1]
