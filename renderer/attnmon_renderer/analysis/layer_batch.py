"""Small layers that are alike, computed together: to call NumPy takes longer than it computes."""

from collections.abc import Hashable, Sequence
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Floats
from attnmon_renderer.analysis.layer_analysis import queries_to_use
from attnmon_renderer.analysis.layer_attention import TILE_WEIGHTS, LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.analysis.statistics_accumulator import StatisticsAccumulator


class JoinedLayers(LayerAttention):
    """The heads of layers that are alike, one layer after the other."""

    def __init__(self, layers: Sequence[LayerAttention]) -> None:
        super().__init__(layers[0].attention, layers[0].memory)
        self._layers = layers
        self.padding = layers[0].padding
        self.declared = layers[0].declared
        heads, queries, keys = layers[0].shape
        self.shape = (heads * len(layers), queries, keys)

    @property
    def parts(self) -> Sequence[LayerAttention]:
        return self._layers

    @cached_property
    def _query(self) -> npt.NDArray[Any]:
        return np.concatenate([layer._query for layer in self._layers])

    @cached_property
    def _key(self) -> Floats:
        return np.concatenate([layer._key for layer in self._layers])


def layer_statistics(
    layers: Sequence[LayerAttention], statistics_queries: int | Literal["all"]
) -> list[LayerStatistics]:
    """Compute the statistics of each layer, of that many evenly spaced queries at most."""
    groups: dict[Hashable, list[LayerAttention]] = {}
    for layer in layers:
        groups.setdefault(_likeness(layer), []).append(layer)
    found: dict[int, LayerStatistics] = {}
    for alike in groups.values():
        room = max(1, TILE_WEIGHTS // max(1, prod(alike[0].shape)))
        for first in range(0, len(alike), room):
            batch = alike[first : first + room]
            of_batch = _of_batch(batch, statistics_queries)
            found |= zip(map(id, batch), of_batch, strict=True)
    return [found[id(layer)] for layer in layers]


def _of_batch(
    batch: Sequence[LayerAttention], statistics_queries: int | Literal["all"]
) -> list[LayerStatistics]:
    """Compute the statistics of layers that fit into one tile."""
    joined = JoinedLayers(batch) if len(batch) > 1 else batch[0]
    rows, used = queries_to_use(joined, statistics_queries)
    accumulator = StatisticsAccumulator(joined, len(batch))
    for tile in joined.tiles(rows):
        accumulator.add(tile)
    return accumulator.statistics(used)


def _likeness(layer: LayerAttention) -> Hashable:
    """Return what layers have in common that can be joined; of no two others it is equal."""
    attention = layer.attention
    query, key, bias = attention.query, attention.key, attention.bias
    differs_by_head = bias is not None and len(bias.shape) > 2 and bias.shape[0] > 1
    if query is None or key is None or attention.sinks is not None or differs_by_head:
        return attention
    return (
        (query.dtype, query.shape, key.dtype, key.shape, bias),
        tuple(map(_bytes_of, (layer.padding, *layer.declared))),
        layer.is_own_future,
        (attention.scale, attention.causal, attention.softcap, attention.earlier),
    )


def _bytes_of(told: Booleans | None) -> bytes | None:
    return None if told is None else told.tobytes()
