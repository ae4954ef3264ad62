"""Launches the kernels for one layer, on memory that is given."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from attnmon.device.cell_grid import CellGrid, cells_along, power_of_2
from attnmon.device.kernel_support import ALIGNMENT
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.survey_grid import SurveyGrid, length_step
from attnmon.link.summaries.summary_parts import (
    COLUMN_PARTS,
    KEY_PARTS,
    LOGIT_PARTS,
    ROW_PARTS,
)

KEYS_AT_ONCE = 1024
_OTHER_DTYPES = {"strongest": torch.int32, "cells": torch.float16}
NARROWEST = 16
"""Columns of the narrowest matrix that Triton multiplies."""


@dataclass(frozen=True, slots=True)
class SurveyMemory:
    """Where the kernels write what is made of some heads; parts of memory that is reused."""

    lse: Tensor
    """float32 [heads, queries] Log-sum-exp of each row, for the other kernels."""
    received: Tensor
    """float32 [heads, keys] What each key receives, for the third; sent beside a window."""
    rows: Tensor
    """float32 [heads, programs, …], by `ROW_PARTS`"""
    columns: Tensor
    """float32 [heads, programs, …], by `COLUMN_PARTS`"""
    keys: Tensor
    """float32 [heads, …], by `KEY_PARTS`"""
    logits: Tensor
    """float32 [heads, …, query cells], by `LOGIT_PARTS`"""
    query_lengths: Tensor
    """float32 [heads, …] Lengths of some queries, evenly spaced."""
    key_lengths: Tensor
    """float32 [key heads, …] Of some keys."""
    strongest: Tensor
    """int32 [heads, query cells] The key with the largest weight in each row of cells."""
    cells: Tensor
    """float16 [heads, cells]: the map, pooled by mass; of a triangle without what is above the
    diagonal. A sign marks a cell in which no query that counts may attend to any key. Empty
    without a map."""

    window: Tensor
    """float32 [heads, queries, keys] Weights of the first queries; empty without a window."""

    sent_bytes: Tensor
    """uint8 All that leaves the device, side by side."""

    @classmethod
    def on(cls, scratch: Tensor, grid: SurveyGrid, lse: Tensor, key_heads: int) -> "SurveyMemory":
        """Divide bytes among the heads of `lse`. What is sent lies side by side."""
        heads = len(lse)
        shapes = {
            "received": (heads, grid.keys),
            "rows": (heads, grid.row_programs, len(ROW_PARTS)),
            "columns": (heads, grid.column_programs, len(COLUMN_PARTS)),
            "keys": (heads, len(KEY_PARTS)),
            "logits": (heads, len(LOGIT_PARTS), grid.query_cells),
            "query_lengths": (heads, cells_along(grid.queries, length_step(grid.queries))),
            "key_lengths": (key_heads, cells_along(grid.keys, length_step(grid.keys))),
            "strongest": (heads, grid.query_cells if grid.has_cells else 0),
            "cells": (heads, grid.cells),
            "window": (heads, grid.window, grid.keys if grid.window else 0),
        }
        parts: dict[str, Tensor] = {}
        starts: dict[str, int] = {}
        start = end = 0
        for name, shape in shapes.items():
            dtype = _OTHER_DTYPES.get(name, torch.float32)
            starts[name], end = start, start + prod(shape) * dtype.itemsize
            parts[name] = scratch[start:end].view(dtype).view(shape)
            start = -(-end // ALIGNMENT) * ALIGNMENT
        return cls(
            lse, **parts, sent_bytes=scratch[starts["received" if grid.window else "rows"] : end]
        )

    @property
    def sent(self) -> tuple[Tensor, ...]:
        """What leaves the device."""
        received = self.received if self.window.numel() else self.window.view(len(self.lse), 0)
        return (
            self.rows, self.columns, self.keys, self.logits, self.query_lengths,
            self.key_lengths, self.strongest, self.cells, received, self.window,
        )  # fmt: skip


def launch(layer: LayerTensors, grid: SurveyGrid, memory: SurveyMemory) -> None:
    """Start the kernels for a layer on the present stream. Nothing here waits."""
    from attnmon.device.kernels import survey_kernels as kernels  # they need Triton

    heads, _, keys = layer.shape
    unused = memory.received  # an argument for what is not there
    shared = arguments(layer, grid) | {
        "query_cells": grid.query_cells,
        "PADDING": layer.padding is not None,
        "CELLS": grid.has_cells,
    }
    given = tensors_read(layer, unused)
    padding = unused if layer.padding is None else layer.padding.view(torch.uint8)
    declared = [each.view(torch.uint8) for each in layer.declared or ()] or [unused, unused]
    kernels.survey_rows[(grid.row_programs, heads)](
        *given,
        unused if layer.sinks is None else layer.sinks,
        padding,
        *declared,
        memory.lse,
        memory.logits,
        memory.strongest if grid.has_cells else unused,
        memory.rows,
        earlier=layer.earlier,
        sinks_stride=0 if layer.sinks is None else layer.sinks.stride(0),
        SINKS=layer.sinks is not None,
        SCALED=layer.is_scaled,
        DECLARED=layer.declared is not None,
        **shared,
    )
    kernels.survey_columns[(grid.column_programs, heads)](
        *given,
        padding,
        memory.lse,
        memory.received,
        memory.cells if grid.has_cells else unused,
        memory.columns,
        key_step=grid.key_step,
        key_cells=grid.key_cells,
        center=1 / keys,
        CELL_KEYS=grid.cell_keys,
        CHUNKS=grid.chunks,
        TRIANGLE=grid.is_triangle,
        **shared,
    )
    kernels.survey_keys[(heads,)](
        memory.received, memory.rows, memory.keys, keys, grid.row_programs, KEYS=KEYS_AT_ONCE
    )
    if grid.window:
        _launch_window(layer, grid, memory)
    _measure_lengths(layer.query, memory.query_lengths)
    _measure_lengths(layer.key, memory.key_lengths)


def _launch_window(layer: LayerTensors, grid: SurveyGrid, memory: SurveyMemory) -> None:
    from attnmon.device.kernels import window_kernels as kernels

    heads, _, keys = layer.shape
    rows = max(NARROWEST, power_of_2(grid.window))
    kernels.survey_window[(cells_along(keys, grid.tile), heads)](
        *tensors_read(layer, memory.received),
        memory.lse,
        memory.window,
        count=grid.window,
        **(arguments(layer, grid) | {"ROWS": rows, "CELL_ROWS": rows}),
    )


def tensors_read(layer: LayerTensors, unused: Tensor) -> tuple[Tensor, ...]:
    """Return the query, the key, the bias and its bound; `unused` for what is not there."""
    bias = unused if layer.bias is None else layer.bias_as_bytes
    assert bias is not None
    return layer.query, layer.key, bias, unused if layer.bound is None else layer.bound


def arguments(layer: LayerTensors, grid: CellGrid) -> dict[str, Any]:
    """Return what all kernels that read queries and keys are launched with."""
    from attnmon.device.kernels import survey_kernels as kernels

    heads, queries, keys = layer.shape
    return {
        "queries": queries,
        "keys": keys,
        "width": layer.query.shape[2],
        "group": heads // layer.key.shape[0],
        "query_step": grid.query_step,
        "scale": layer.scale,
        "softcap": layer.softcap,
        **_strides("query", "row", "column", layer.query.stride()),
        **_strides("key", "row", "column", layer.key.stride()),
        **_strides("bias", "row", "key", layer.bias_strides),
        **_flags(layer, grid),
        "num_warps": kernels.WARPS,
        "num_stages": kernels.STAGES,
    }


def _measure_lengths(vectors: Tensor, lengths: Tensor) -> None:
    """Write the lengths of some vectors [heads, positions, width]."""
    some = vectors.detach()[:, :: length_step(vectors.shape[1])]
    torch.linalg.vector_norm(some, dim=2, dtype=torch.float32, out=lengths)


def of_heads(layer: LayerTensors, first: int, end: int) -> LayerTensors:
    """Return some heads of a layer: whole groups that share a key head."""
    group = layer.query.shape[0] // layer.key.shape[0]
    bias = layer.bias
    if bias is not None and bias.dim() == 3 and bias.shape[0] > 1:
        bias = bias[first:end]
    return replace(
        layer,
        query=layer.query[first:end],
        key=layer.key[first // group : -(-end // group)],
        bias=bias,
        sinks=None if layer.sinks is None else layer.sinks[first:end],
    )


def _strides(name: str, second: str, third: str, strides: tuple[int, ...]) -> dict[str, int]:
    head, row, column = strides
    return {f"{name}_head": head, f"{name}_{second}": row, f"{name}_{third}": column}


def _multiplied(is_cuda: bool) -> set[torch.dtype]:
    """Return the 16-bit dtypes that are multiplied as they are, others after a cast to float32."""
    return {torch.float16, torch.bfloat16} if is_cuda else {torch.float16}  # the interpreter's


def _flags(layer: LayerTensors, grid: CellGrid) -> dict[str, Any]:
    """Return what they all are compiled for."""
    bias, dtypes = layer.bias, {layer.query.dtype, layer.key.dtype}
    return {
        "WIDTH": max(NARROWEST, power_of_2(layer.query.shape[2])),
        "ROWS": grid.tile,
        "KEYS": grid.tile,
        "HALF": len(dtypes) == 1 and dtypes <= _multiplied(layer.query.is_cuda),
        "SOFTCAP": bool(layer.softcap),
        "BIAS": 0 if bias is None else 1 if bias.dtype == torch.bool else 2,
        "CAUSAL": layer.causal,
        "CELL_ROWS": grid.cell_rows,
    }
