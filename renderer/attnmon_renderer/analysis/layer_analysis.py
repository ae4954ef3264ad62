"""The analysis of a layer: statistics and pooled maps from one pass over its tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from attnmon_renderer.analysis.arrays import Booleans, Floats, Integers
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.analysis.pooling import CellPooling, MassPooling, MaxPooling
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile
from attnmon_renderer.analysis.statistics_accumulator import StatisticsAccumulator

Pooling = Literal["mass", "max"]

POOLINGS: dict[Pooling, type[CellPooling]] = {"mass": MassPooling, "max": MaxPooling}


class TileCollector(Protocol):
    """Makes something of its own of the tiles of one pass."""

    @property
    def rows(self) -> Integers | None:
        """The queries that suffice; None for all."""

    def add(self, tile: SoftmaxTile) -> None:
        """Add a tile: all heads of some rows come before the next rows."""


@dataclass(frozen=True, eq=False)
class PooledMap:
    """Attention in cells of `query_step` × `key_step` positions; the last cells may be smaller.

    With "mass" pooling a cell is the mean over its queries of the sum over its keys. So a row still
    sums to 1, and a thin diagonal or a single strong key keeps its weight, which a mean would hide.
    With "max" pooling it is the largest weight in the cell, and rows are no distribution.
    """

    values: Floats
    """[cells of queries, cells of keys], or [heads, cells of queries, cells of keys]"""
    masked: Booleans
    """[cells of queries, cells of keys] True where no query may attend to any key of the cell, and
    where all its queries are padding."""
    query_step: int
    """Queries per cell."""
    key_step: int
    """Keys per cell."""
    pooling: Pooling


@dataclass(frozen=True, eq=False)
class LayerAnalysis:
    """Statistics and maps of one layer, from one pass over its tiles."""

    statistics: LayerStatistics
    average: PooledMap | None
    """Mean over all heads that were sent; "max" pools this mean. None if not requested."""
    per_head: PooledMap | None
    """The requested heads, in the order of the request. None if not requested."""
    patch_rows: Floats | None = None
    """[heads, keys] What the sample's image gets of a vision model's attention. None if the layer
    sees none."""


def analyze_layer(
    layer: LayerAttention,
    *,
    average_side: int | None = None,
    head_side: int | None = None,
    heads: Sequence[int] | None = None,
    pooling: Pooling = "mass",
    statistics_queries: int | Literal["all"] = 1024,
    collector: TileCollector | None = None,
) -> LayerAnalysis:
    """Compute the statistics of all heads and the requested maps.

    Args:
        average_side: most cells a side of the map of the mean over all heads; None for no map.
        head_side: most cells a side of the maps of single heads; None for no maps.
        heads: the heads of these maps, as indices into the heads that were sent; None for all.
        statistics_queries: without any map, how many evenly spaced queries are used at most. With
            a map all queries are used.
        collector: gets the tiles, too: of all queries with a map, and else of those it wants.

    Raises:
        ValueError: a head was not sent, or a side is below 1.
    """
    heads = _checked_heads(heads, layer.shape[0])
    average = _grid(layer, average_side)
    per_head = _grid(layer, head_side)
    poolings = {
        grid: POOLINGS[pooling](
            grid, layer.shape[0], grid == average, heads if grid == per_head else ()
        )
        for grid in (average, per_head)
        if grid is not None
    }
    rows, used = None, None
    if not poolings and collector is not None:
        rows = collector.rows
        used = None if rows is None else len(rows)
    elif not poolings:
        rows, used = queries_to_use(layer, statistics_queries)
    accumulator = StatisticsAccumulator(layer)
    for tile in layer.tiles(rows):
        if (counted := tile.without(layer.padding)) is not None:
            accumulator.add(counted)
        for cell_pooling in poolings.values():
            cell_pooling.add(tile)
        if collector is not None:
            collector.add(tile)
    (statistics,) = accumulator.statistics(used)
    return LayerAnalysis(
        statistics,
        None
        if average is None
        else _pooled_map(layer, poolings[average], poolings[average].average, pooling),
        None
        if per_head is None
        else _pooled_map(layer, poolings[per_head], poolings[per_head].per_head, pooling),
    )


def _checked_heads(heads: Sequence[int] | None, sent: int) -> Sequence[int]:
    if heads is None:
        return range(sent)
    if any(not 0 <= head < sent for head in heads):
        raise ValueError(f"heads {tuple(heads)}: positions among the {sent} that were sent, from 0")
    return heads


def queries_to_use(
    layer: LayerAttention, wanted: int | Literal["all"]
) -> tuple[Integers | None, int | None]:
    """Returns the queries for statistics, None for all, and how many, None if none is left out.

    Padding is left out in any case, and does not count.
    """
    if layer.padding is None:
        rows = evenly_spaced(layer.shape[1], wanted)
        return rows, None if rows is None else len(rows)
    (real,) = np.nonzero(~layer.padding)
    chosen = evenly_spaced(len(real), wanted)
    return (real, None) if chosen is None else (real[chosen], len(chosen))


def evenly_spaced(queries: int, wanted: int | Literal["all"]) -> Integers | None:
    """Returns `wanted` indices from the first query to the last; None if all are used."""
    if wanted == "all" or queries <= wanted:
        return None
    return np.linspace(0, queries - 1, wanted).round().astype(np.intp)


def _grid(layer: LayerAttention, side: int | None) -> PoolingGrid | None:
    _, queries, keys = layer.shape
    return None if side is None else PoolingGrid.of_side(queries, keys, side)


def _pooled_map(
    layer: LayerAttention, cells: CellPooling, values: Floats, pooling: Pooling
) -> PooledMap:
    masked, step = cells.masked, cells.grid.query_step
    if layer.padding is not None:
        starts = np.arange(0, layer.shape[1], step)
        masked = masked | np.logical_and.reduceat(layer.padding, starts)[:, None]
    return PooledMap(values, masked, step, cells.grid.key_step, pooling)
