"""What each key gets, against float64; and maps of which it is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.keys.key_usage import LEAST_REST, SINK_SHARE
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import DeclaredPadding, LayerAttention
from attnmon_renderer.analysis.layer_batch import layer_statistics
from attnmon_renderer.analysis.layer_statistics import LayerStatistics

Array = np.ndarray[Any, Any]


def layer_of(stack: Any = "decoder", *, causal: bool = False, **arrays: Array) -> LayerAttention:
    memory, blocks = b"", {}
    for name, array in arrays.items():
        blocks[name] = ArrayBlock(len(memory), str(array.dtype), array.shape)
        memory += array.tobytes()
    heads = tuple(range(len(arrays.get("weights", arrays.get("query", ())))))
    fields: Any = blocks | {"causal": causal}
    message = Attention("m", stack, 0, "self_attention", "test", heads, **fields)
    return LayerAttention(message, memory)


def statistics_of(layer: LayerAttention) -> LayerStatistics:
    return analyze_layer(layer, statistics_queries="all").statistics


def softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def coverage_of(weights: Array, allowed: Array) -> float:
    """Of one head, written out key by key in float64."""
    rows = len(weights)
    keys = [key for key in range(weights.shape[1]) if allowed[:, key].any()]
    if weights[:, 0].sum() > SINK_SHARE * rows and 0 in keys:
        keys.remove(0)
    given = [float(weights[:, key].sum()) for key in keys]
    if not keys or sum(given) < LEAST_REST * rows:
        return float("nan")
    most = max(rows, len(keys)) / sum(given)
    return sum(min(1.0, most * each) for each in given) / len(keys)


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 140)),
    causal=st.booleans(),
    padded=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 6.0]),
)
def test_all_agree_with_float64(
    seed: int, shape: tuple[int, int], causal: bool, padded: bool, scale: float
) -> None:
    heads, length = shape
    rng = np.random.default_rng(seed)
    query = scale * rng.standard_normal((heads, length, 8), np.float32)
    key = rng.standard_normal((heads, length, 8), np.float32)
    seen = np.arange(length) < (max(1, length // 2) if padded else length)
    layer = layer_of(causal=causal, query=query, key=key, bias=seen[None, None])
    found = statistics_of(layer)

    allowed = np.broadcast_to(seen, (length, length))
    allowed = allowed & np.tri(length, dtype=bool) if causal else allowed
    counted = np.arange(length) if layer.padding is None else np.flatnonzero(~layer.padding)
    logits = query.astype(np.float64) @ key.astype(np.float64).transpose(0, 2, 1)
    for head in range(heads):
        weights = softmax(np.where(allowed, logits[head], -1e300))[counted]
        means = weights.mean(axis=0)
        residual = np.linalg.norm(weights - means) / np.linalg.norm(weights)
        expected = coverage_of(weights, allowed[counted])
        np.testing.assert_allclose(found.heads["coverage"][head], expected, atol=1e-4)
        np.testing.assert_allclose(found.heads["largest_key"][head], means.max(), atol=1e-5)
        np.testing.assert_allclose(found.heads["row_residual"][head], residual, atol=2e-3)


def one_head(weights: Array) -> LayerStatistics:
    return statistics_of(layer_of(weights=weights[None].astype(np.float32)))


def test_maps_of_which_it_is_known() -> None:
    size = 200
    uniform, own = np.full((size, size), 1 / size), np.eye(size)
    to_one = np.zeros((size, size))
    to_one[:, 7] = 1
    assert [one_head(w).heads["coverage"][0] for w in (uniform, own, to_one)] == [1, 1, 1 / size]
    assert [one_head(w).heads["largest_key"][0] for w in (uniform, to_one)] == [1 / size, 1]
    assert one_head(uniform).heads["row_residual"][0] == pytest.approx(0, abs=1e-3)
    assert one_head(own).heads["row_residual"][0] == pytest.approx(np.sqrt(1 - 1 / size), abs=1e-5)


def test_a_sink_is_left_out() -> None:
    """95 % on the first key, and the rest on each query's own: every key is used."""
    size = 64
    sink = np.zeros((size, size))
    sink[:, 0] = 1
    assert one_head(0.95 * sink + 0.05 * np.eye(size)).heads["coverage"][0] == pytest.approx(1)
    assert np.isnan(one_head(sink).heads["coverage"][0])


def test_fewer_queries_than_keys_can_cover_all_of_them() -> None:
    weights = np.full((2, 100), 0.01)
    assert one_head(weights).heads["coverage"][0] == 1


def test_what_real_queries_give_to_padding_and_to_what_comes() -> None:
    rng = np.random.default_rng(3)
    weights = softmax(rng.standard_normal((2, 12, 12)))
    layer = layer_of(weights=weights.astype(np.float32))
    padding = np.arange(12) >= 9
    layer.declared = DeclaredPadding(padding, padding)
    found = statistics_of(layer)
    given = weights[:, :9, 9:].sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(found.heads["padding_mass"], given, atol=1e-6)
    assert found.future_mass == pytest.approx(
        float(np.triu(weights, 1).sum(axis=2).mean()), abs=1e-6
    )
    assert statistics_of(layer_of("encoder", weights=weights)).future_mass is None


def test_layers_that_are_computed_together_have_the_same_numbers() -> None:
    rng = np.random.default_rng(5)
    query, key = rng.standard_normal((2, 3, 2, 20, 8)).astype(np.float32)
    layers = [layer_of(query=query[i], key=key[i], causal=True) for i in range(3)]
    together = layer_statistics(layers, "all")
    alone = [layer_statistics([layer], "all")[0] for layer in layers]
    for one, other in zip(together, alone, strict=True):
        assert one.heads.keys() == other.heads.keys()
        for name, values in other.heads.items():
            assert one.heads[name] == pytest.approx(values, abs=1e-5)
        assert (one.ahead, one.normed) == (other.ahead, other.normed) == (0, False)


def test_normalised_queries_and_keys_are_told() -> None:
    rng = np.random.default_rng(1)
    query, key = rng.standard_normal((2, 4, 50, 32)).astype(np.float32)
    unit = [array / np.linalg.norm(array, axis=2, keepdims=True) for array in (query, key)]
    assert statistics_of(layer_of(query=query, key=key)).normed is False
    assert statistics_of(layer_of(query=unit[0], key=unit[1])).normed is True
    assert statistics_of(layer_of(query=unit[0], key=key)).normed is False
