"""Maps small enough to draw, and the statistics, from one pass over a layer's tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from attnmon_renderer.analysis.arrays import Booleans, Floats, Integers
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.analysis.pooling import CellPooling, MassPooling, MaxPooling
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.analysis.statistics_accumulator import StatisticsAccumulator

Pooling = Literal["mass", "max"]

POOLS: dict[Pooling, type[CellPooling]] = {"mass": MassPooling, "max": MaxPooling}


@dataclass(frozen=True, eq=False)
class PooledMap:
    """Attention in cells of `query_step` × `key_step` positions; the last ones may be smaller.

    By "mass" a cell is the mean over its queries of the sum over its keys: a row still sums to 1,
    and a thin diagonal or a single strong key keeps its weight, which a mean would drown. By "max"
    it is the largest weight in the cell, and no distribution.
    """

    values: Floats
    """[cells of queries, cells of keys], with the heads in front where there are several"""
    masked: Booleans
    """[cells of queries, cells of keys] No query in the cell may attend to any key in it."""
    query_step: int
    key_step: int
    pooling: Pooling


@dataclass(frozen=True, eq=False)
class LayerAnalysis:
    """What one pass over a layer gave."""

    statistics: LayerStatistics
    average: PooledMap | None
    """The mean over all heads that were sent; of the mean, when pooled by "max"."""
    per_head: PooledMap | None
    """The heads that were asked for, in that order."""


def analyze_layer(
    layer: LayerAttention,
    *,
    average_side: int | None = None,
    head_side: int | None = None,
    heads: Sequence[int] | None = None,
    pooling: Pooling = "mass",
    statistics_queries: int | Literal["all"] = 1024,
) -> LayerAnalysis:
    """Statistics of all heads, and maps of at most so many cells a side; None: no such map.

    `heads` are positions among the heads that were sent; None: each. A map needs every query.
    Without any, of more than `statistics_queries` queries only that many, evenly spaced, are used.
    Raises ValueError for a head that was not sent and for a side below 1.
    """
    heads = _positions(heads, layer.shape[0])
    average = _grid(layer, average_side)
    per_head = _grid(layer, head_side)
    pools = {
        grid: POOLS[pooling](
            grid, layer.shape[0], grid == average, heads if grid == per_head else ()
        )
        for grid in (average, per_head)
        if grid is not None
    }
    rows = None if pools else _evenly_spaced(layer.shape[1], statistics_queries)
    accumulator = StatisticsAccumulator(layer)
    for tile in layer.tiles(rows):
        accumulator.add(tile)
        for pool in pools.values():
            pool.add(tile)
    return LayerAnalysis(
        accumulator.statistics(None if rows is None else len(rows)),
        None if average is None else _map(pools[average], pools[average].average, pooling),
        None if per_head is None else _map(pools[per_head], pools[per_head].per_head, pooling),
    )


def _positions(heads: Sequence[int] | None, sent: int) -> Sequence[int]:
    if heads is None:
        return range(sent)
    if any(not 0 <= head < sent for head in heads):
        raise ValueError(f"heads {tuple(heads)}: positions among the {sent} that were sent, from 0")
    return heads


def _evenly_spaced(queries: int, wanted: int | Literal["all"]) -> Integers | None:
    """[wanted] indices from the first query to the last; None when all are to be used."""
    if wanted == "all" or queries <= wanted:
        return None
    return np.linspace(0, queries - 1, wanted).round().astype(np.intp)


def _grid(layer: LayerAttention, side: int | None) -> PoolingGrid | None:
    _, queries, keys = layer.shape
    return None if side is None else PoolingGrid.of_side(queries, keys, side)


def _map(pool: CellPooling, values: Floats, pooling: Pooling) -> PooledMap:
    return PooledMap(values, pool.masked, pool.grid.query_step, pool.grid.key_step, pooling)
