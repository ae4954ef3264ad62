"""Compares what a device has made of a layer with what is made here of its query and key."""

import math
from dataclasses import fields
from typing import Any

import numpy as np

from attnmon.link.records.layer_summary import LayerSummary
from attnmon.link.summaries.summary_parts import LOGIT_PARTS
from attnmon_renderer.analysis.arrays import Floats, Memory, read_array
from attnmon_renderer.analysis.keys.reach import reach_between
from attnmon_renderer.analysis.layer_analysis import PooledMap, analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.summaries.device_summary import DeviceSummary
from attnmon_renderer.summaries.top_logits import top_logits

RELATIVE, ABSOLUTE = 3e-4, 3e-6
"""Largest difference of a number: several times what sums of float32 in another order differ by."""
CODES = 255
MOST_ROWS = 16
"""Rows of cells whose logits are compared."""
_NOT_COMPARED = ("row_sum_error", "non_finite")
"""What tells how numbers were rounded, or was counted in tiles."""
_MAY_BE_UNKNOWN = ("padding_mass",)
"""Numbers of heads that cannot be given where the user says only later what is padding."""


def difference(layer: LayerAttention, memory: Memory) -> str | None:
    """Return in what a layer's summary differs from its query and key; empty where they are one.

    None where nothing can be said, since the layer's numbers are not finite.
    """
    summary = DeviceSummary(layer, memory)
    head_side = max(summary.grid.shape) if summary.record.has_map else None
    average_side = _average_side(summary)
    exact = analyze_layer(
        layer, average_side=average_side, head_side=head_side, statistics_queries="all"
    )
    if exact.statistics.non_finite:
        return None
    found = summary.analysis(average_side, head_side)
    for name, one, other in _numbers(found.statistics, exact.statistics):
        if not _is_close(one, other):
            return f"in {name}: {one} instead of {other}"
    for told, one_map, other_map in (
        ("its map", found.per_head, exact.per_head),
        ("the mean over its heads", found.average, exact.average),
    ):
        if differs := _map_difference(told, one_map, other_map):
            return differs
    if differs := _logit_difference(layer, summary) or _window_difference(layer, summary):
        return differs
    return _mask_difference(layer, summary.record, memory)


def _average_side(summary: DeviceSummary) -> int | None:
    average, (_, queries, keys) = summary.record.average, summary.record.shape
    if average is None:
        return None
    return max(PoolingGrid(queries, keys, average.query_step, average.key_step).shape)


def _map_difference(name: str, found: PooledMap | None, exact: PooledMap | None) -> str:
    """Return in what one map differs from the other; what is masked has no value to be shown."""
    if found is None or exact is None:
        return ""
    if (found.masked != exact.masked).any():
        return f"in which cells of {name} are masked"
    shown = (np.where(each.masked, 0, each.values) for each in (found, exact))
    codes = _codes_apart(*(values.reshape(-1, *exact.masked.shape) for values in shown))
    return f"by {codes} of 255 in a cell of {name}" if codes else ""


def _logit_difference(layer: LayerAttention, summary: DeviceSummary) -> str:
    """Return in what the largest logits of some rows of cells differ."""
    rows = summary.grid.shape[0]
    cells = np.arange(0, rows, math.ceil(rows / MOST_ROWS))
    found, exact = summary.logits[:, :, cells], top_logits(layer, summary.grid, cells)
    is_close = np.isclose(found, exact, rtol=RELATIVE, atol=RELATIVE)
    for head, part, cell in np.argwhere(~is_close)[:1]:
        one, other = (float(values[head, part, cell]) for values in (found, exact))
        return f"in the {LOGIT_PARTS[part]} of head {head}: {one} instead of {other}"
    return ""


def _window_difference(layer: LayerAttention, summary: DeviceSummary) -> str:
    """Return in what the weights of single queries differ."""
    found = summary.window
    exact = np.zeros_like(found)
    for tile in layer.tiles(np.arange(found.shape[1])):
        exact[tile.heads, tile.rows.selector] = tile.weights(found.shape[2])
    apart = np.abs(found - exact) > ABSOLUTE + RELATIVE * exact
    return f"in {np.count_nonzero(apart)} weights of its first queries" if apart.any() else ""


def _mask_difference(layer: LayerAttention, summary: LayerSummary, memory: Memory) -> str:
    """Return in what the device has read another mask."""
    if summary.ends is None or summary.padding is None:
        return ""
    found = read_array(summary.padding, memory).astype(np.bool_)
    expected = np.zeros_like(found) if layer.padding is None else layer.padding
    if (found != expected).any():
        return "in which queries are padding"
    if layer.attention.causal or layer.attention.type != "self_attention":
        return ""
    _, queries, keys = summary.shape
    ends = reach_between(read_array(summary.ends, memory), layer.attention.earlier)
    is_told = queries + layer.attention.earlier == keys
    return "in how far its mask reaches" if is_told and ends != layer.reach else ""


def _numbers(one: LayerStatistics, other: LayerStatistics) -> list[tuple[str, Any, Any]]:
    """Return (name, number of one, number of the other)."""
    names = [field.name for field in fields(one) if field.name not in (*_NOT_COMPARED, "heads")]
    found = [(name, getattr(one, name), getattr(other, name)) for name in names]
    of_heads = [name for name in other.heads if name in one.heads or name not in _MAY_BE_UNKNOWN]
    return found + [
        (f"{name} of head {head}", *pair)
        for name in of_heads
        for head, pair in enumerate(zip(one.heads[name], other.heads[name], strict=True))
    ]


def _is_close(one: Any, other: Any) -> bool:
    if not (isinstance(one, float) and isinstance(other, float)):
        return bool(one == other)
    both_unknown = math.isnan(one) and math.isnan(other)
    return both_unknown or math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _codes_apart(cells: Floats, exact: Floats) -> int:
    """Return how many codes of a byte the cells of a head differ by, at most; 0 for one or none."""
    scale = exact.max(axis=(1, 2), keepdims=True)
    scale[scale == 0] = 1
    one, other = (np.round(CODES * np.sqrt(values / scale)) for values in (cells, exact))
    apart = int(np.abs(one - other).max(initial=0))
    return apart if apart > 1 else 0
