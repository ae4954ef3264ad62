"""Maps collected in the pass of an analysis, against the whole map in float64."""

import numpy as np
import pytest
from support.attention_layers import random_query_and_key, sent_layer, softmax
from support.maps import pooled

from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.maps.map_collector import MapCollector

HEADS = 3


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(20, 20), (20, 31), (300, 300), (257, 90), (1, 5)])
def test_cells_are_those_of_the_whole_map(queries: int, keys: int, causal: bool) -> None:
    arrays = random_query_and_key(HEADS, queries, keys)
    layer = LayerAttention(*sent_layer(causal=causal, **arrays))
    maps = MapCollector(layer, 64)
    analyze_layer(layer, average_side=1024, collector=maps)
    weights = softmax(**arrays, causal=causal)
    cells, steps = pooled(weights, 64)
    assert (maps.grid.query_step, maps.grid.key_step) == steps
    assert np.allclose(maps.values, cells, atol=1e-6)
    assert np.allclose(maps.received.sum(1), 1, atol=1e-5)
    starts = np.arange(0, keys, steps[1])
    received = np.add.reduceat(weights.mean(1), starts, 1)
    assert np.allclose(maps.received, received, atol=1e-6)
    assert maps.strongest.tolist() == strongest(weights, steps[0]).tolist()
    assert maps.sampled is None


def strongest(weights: np.ndarray, step: int) -> np.ndarray:  # type: ignore[type-arg]
    """Returns the key of the largest weight in each row of cells."""
    heads, queries, keys = weights.shape
    rows = [
        weights[:, start : start + step].reshape(heads, -1) for start in range(0, queries, step)
    ]
    return np.stack([row.argmax(1) % keys for row in rows], axis=1)


def test_tiles_that_end_within_cells_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnmon_renderer.analysis.layer_attention.MAXIMUM_CAUSAL_ROWS", 7)
    arrays = random_query_and_key(HEADS, 100, 100)
    layer = LayerAttention(*sent_layer(causal=True, **arrays))
    maps = MapCollector(layer, 10)
    analyze_layer(layer, collector=maps)
    weights = softmax(**arrays, causal=True)
    assert np.allclose(maps.values, pooled(weights, 10)[0], atol=1e-6)
    assert maps.strongest.tolist() == strongest(weights, 10).tolist()


@pytest.mark.parametrize("causal", [False, True])
def test_of_a_sample_each_row_of_cells_is_the_mean_of_its_own_queries(causal: bool) -> None:
    arrays = random_query_and_key(HEADS, 330, 330)
    layer = LayerAttention(*sent_layer(causal=causal, **arrays))
    maps = MapCollector(layer, 32, share=0.25)
    found = analyze_layer(layer, collector=maps)
    rows = maps.rows
    assert rows is not None
    assert maps.sampled == found.statistics.queries_used == len(rows) == 2 * 30
    assert (rows // 11).tolist() == sorted([*range(30)] * 2)
    sampled = softmax(**arrays, causal=causal)[:, rows]
    cells, _ = pooled(sampled.repeat(1, axis=2), 330)
    keys = np.add.reduceat(cells, np.arange(0, 330, 11), 2)
    assert np.allclose(maps.values, keys.reshape(HEADS, 30, 2, 30).mean(2), atol=1e-6)
    assert (maps.masked == (np.triu(np.ones((30, 30)), 1) > 0) * causal).all()


def test_all_queries_are_used_where_they_are_looked_at_anyway() -> None:
    arrays = random_query_and_key(HEADS, 330, 330)
    layer = LayerAttention(*sent_layer(**arrays))
    maps = MapCollector(layer, 32, share=0.25)
    analyze_layer(layer, average_side=64, collector=maps)
    assert maps.sampled is None
    assert np.allclose(maps.values, pooled(softmax(**arrays), 32)[0], atol=1e-6)


def test_padding_counts_in_no_mean_and_is_masked() -> None:
    arrays = random_query_and_key(HEADS, 10, 10)
    allowed = np.ones((1, 10, 10), bool)
    allowed[..., 7:] = False
    layer = LayerAttention(*sent_layer(bias=allowed, **arrays))
    maps = MapCollector(layer, 128)
    analyze_layer(layer, collector=maps)
    expected = softmax(**arrays, allowed=allowed)[:, :7].mean(1)
    assert np.allclose(maps.received, expected, atol=1e-6)
    assert maps.masked[7:].all()
    assert not maps.masked[:7, :7].any()
    assert maps.masked[:7, 7:].all()
