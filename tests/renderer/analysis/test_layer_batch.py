"""Layers that are computed together, against each by itself and against float64."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_batch import JoinedLayers, layer_statistics

Array = np.ndarray[Any, Any]


class Ring:
    """Memory with the arrays of several layers."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.memory = b""

    def put(self, array: Array) -> ArrayBlock:
        block = ArrayBlock(len(self.memory), str(array.dtype), array.shape)
        self.memory += array.tobytes()
        return block

    def layer(
        self, index: int, heads: int, queries: int, keys: int, key_heads: int = 0, **more: Any
    ) -> Attention:
        width = 8
        query = self.random.standard_normal((heads, queries, width), np.float32)
        key = self.random.standard_normal((key_heads or heads, keys, width), np.float32)
        arrays = {"query": self.put(query), "key": self.put(key), "scale": width**-0.5}
        names = tuple(range(heads))
        return Attention(
            "m", "decoder", index, "self_attention", "test", names, **{**arrays, **more}
        )


def assert_alike(ring: Ring, attentions: list[Attention], queries: int | None = None) -> None:
    """Compare to the last digit: the same numbers are added in the same order."""
    layers = [LayerAttention(attention, ring.memory) for attention in attentions]
    found = layer_statistics(layers, queries or "all")
    for layer, together in zip(layers, found, strict=True):
        alone = analyze_layer(layer, statistics_queries=queries or "all").statistics
        np.testing.assert_equal(asdict(together), asdict(alone))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(4, 48, 48), (3, 1, 7), (2, 300, 200), (1, 5, 1)])
def test_layers_of_one_shape_have_the_numbers_of_each(
    shape: tuple[int, int, int], causal: bool
) -> None:
    ring = Ring(0)
    assert_alike(ring, [ring.layer(index, *shape, causal=causal) for index in range(6)])
    assert_alike(ring, [ring.layer(index, *shape, causal=causal) for index in range(3)], queries=20)


def test_layers_that_differ_in_anything_are_kept_apart() -> None:
    ring = Ring(1)
    padding = ring.put(np.arange(20)[None, None] < 15)
    by_head = ring.put(ring.random.standard_normal((4, 20, 20), np.float32))
    sinks = ring.put(ring.random.standard_normal(4, np.float32))
    weights = ring.put(np.full((4, 20, 20), 0.05, np.float32))
    layers = [
        *(ring.layer(index, 4, 20, 20, bias=padding) for index in range(2)),
        *(ring.layer(index, 4, 20, 20, bias=by_head) for index in range(2)),
        *(ring.layer(index, 4, 20, 20, sinks=sinks) for index in range(2)),
        *(ring.layer(index, 4, 20, 20, key_heads=2) for index in range(2)),
        *(ring.layer(index, 4, 20, 20, softcap=2.0) for index in range(2)),
        *(ring.layer(index, 4, 20, 20, earlier=3) for index in range(2)),
        ring.layer(0, 4, 20, 20, scale=2.0),
        *(replace(ring.layer(i, 4, 20, 20), query=None, key=None, weights=weights) for i in (0, 1)),
    ]
    assert_alike(ring, layers)


def test_what_is_not_a_number_stays_in_its_layer() -> None:
    ring = Ring(2)
    layers = [ring.layer(index, 4, 20, 20) for index in range(3)]
    block = layers[1].query
    assert block is not None
    memory = bytearray(ring.memory)
    memory[block.offset : block.offset + 4] = np.float32("nan").tobytes()
    ring.memory = bytes(memory)
    assert_alike(ring, layers)
    read = [LayerAttention(layer, ring.memory) for layer in layers]
    assert [each.non_finite for each in layer_statistics(read, "all")] == [0, 20, 0]


def test_joined_layers_are_the_softmax_of_each_in_float64() -> None:
    ring = Ring(3)
    layers = [LayerAttention(ring.layer(index, 2, 10, 12), ring.memory) for index in range(3)]
    weights = JoinedLayers(layers).full()
    assert weights.shape == (6, 10, 12)
    for index, layer in enumerate(layers):
        query, key = (
            np.frombuffer(ring.memory, np.float32, np.prod(block.shape), block.offset)
            .reshape(block.shape)
            .astype(np.float64)
            for block in (layer.attention.query, layer.attention.key)
            if block is not None
        )
        exponentials = np.exp(query @ key.transpose(0, 2, 1) * 8**-0.5)
        expected = exponentials / exponentials.sum(axis=2, keepdims=True)
        assert weights[2 * index : 2 * index + 2] == pytest.approx(expected, abs=1e-6)
