"""Surveys of layers on the CPU, in Triton's interpreter, and the same in float64."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnmon.device.average_launch import divide, launch_average
from attnmon.device.cell_grid import AverageGrid
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import find_mask_bound
from attnmon.device.survey_grid import SurveyGrid
from attnmon.device.survey_launch import SurveyMemory, launch
from attnmon.link.summaries.summary_parts import COLUMN_PARTS, KEY_PARTS, ROW_PARTS, SINK_SHARE


@dataclass(frozen=True)
class Surveyed:
    """What the kernels leave, each sum over all programs of a head."""

    memory: SurveyMemory
    parts: Mapping[str, Tensor]
    """float64 [heads], by the names of the parts."""
    cells: Tensor
    """float16 [heads, query cells, key cells], also those of the future, which are not left."""


def survey(
    layer: LayerTensors, side: int | None = 128, tile: int = 32, *, window: bool = False
) -> Surveyed:
    """Run the kernels. `tile`: fewer, larger tiles are quicker in the interpreter."""
    grid = SurveyGrid.of(layer, side, window=window)
    object.__setattr__(grid, "tile", tile)
    layer = replace(layer, bound=find_mask_bound(layer))
    heads = layer.shape[0]
    size = 512 + heads * (grid.received_bytes + grid.bytes_sent)
    lse = torch.full((heads, grid.queries), math.nan)
    memory = SurveyMemory.on(torch.full((size,), 0xFF).byte(), grid, lse, len(layer.key))
    launch(layer, grid, memory)
    parts = {
        **dict(zip(ROW_PARTS, memory.rows.double().unbind(2), strict=True)),
        **dict(zip(COLUMN_PARTS, memory.columns.double().unbind(2), strict=True)),
    }
    extremes = {"row_sum_error": torch.amax, "min": torch.amin}
    extremes["max"] = torch.amax
    summed = {name: extremes.get(name, torch.sum)(part, 1) for name, part in parts.items()}
    keys = dict(zip(KEY_PARTS, memory.keys.double().unbind(1), strict=True))
    return Surveyed(memory, summed | keys, _whole(memory.cells, grid))


def _whole(cells: Tensor, grid: SurveyGrid) -> Tensor:
    rows, columns = grid.query_cells, grid.key_cells
    if not grid.is_triangle:
        return cells.view(-1, rows, columns)
    whole = torch.full((len(cells), rows, columns), -0.0, dtype=cells.dtype)
    whole[:, *torch.tril_indices(rows, rows)] = cells
    return whole


def averaged(layer: LayerTensors, side: int, tile: int, tiles: int) -> tuple[Tensor, Tensor]:
    """Return the mean over heads, made so many tiles at a time, and which of its cells are closed.

    float32 and bool [query cells, key cells]; what is not finite is NaN.
    """
    layer = replace(layer, bound=find_mask_bound(layer))
    grid = AverageGrid.of(layer, side)
    object.__setattr__(grid, "tile", tile)
    lse = exact_lse(layer).float()
    height = -(-grid.query_cells // grid.tile_rows) * grid.tile_rows
    values = torch.zeros(height, grid.key_tiles * grid.tile_keys)
    closed = torch.ones_like(values).bool()
    number = 0
    for part in divide(torch.zeros(64 + tiles * (grid.tile_bytes + 64)).byte(), grid):
        launch_average(layer, grid, lse, part)
        for scale, codes in zip(part.scales, part.codes, strict=True):
            row, column = _tile_of(number, grid)
            rows = slice(row * grid.tile_rows, (row + 1) * grid.tile_rows)
            columns = slice(column * grid.tile_keys, (column + 1) * grid.tile_keys)
            shares = (codes / 253).square() * scale
            values[rows, columns] = torch.where(codes == 254, math.nan, shares)
            closed[rows, columns] = codes == 255
            number += 1
    shape = slice(grid.query_cells), slice(grid.key_cells)
    return values.masked_fill(closed, 0)[shape], closed[shape]


def _tile_of(number: int, grid: AverageGrid) -> tuple[int, int]:
    """Return the row and the column of the tile of this number, counted row by row."""
    row = 0
    while number >= (length := row + 1 if grid.is_triangle else grid.key_tiles):
        number, row = number - length, row + 1
    return row, number


def exact_logits(layer: LayerTensors) -> Tensor:
    """Return the masked logits [heads, queries, keys] in float64."""
    _, queries, keys = layer.shape
    group = layer.query.shape[0] // layer.key.shape[0]
    key = layer.key.double().repeat_interleave(group, 0)
    logits = layer.query.double() @ key.mT * layer.scale
    if layer.softcap:
        logits = layer.softcap * torch.tanh(logits / layer.softcap)
    if layer.bias is not None and layer.bias.dtype == torch.bool:
        logits = logits.masked_fill(~layer.bias, -math.inf)
    elif layer.bias is not None:
        logits = logits + layer.bias.double()
    if layer.causal:
        logits = logits.masked_fill(~torch.ones(queries, keys).tril().bool(), -math.inf)
    return logits


def exact_lse(layer: LayerTensors) -> Tensor:
    """Return the log-sum-exp [heads, queries] in float64; of a row without any key infinity."""
    lse = _with_sinks(layer, exact_logits(layer)).logsumexp(-1)
    return torch.where(lse.isneginf(), math.inf, lse)


def _with_sinks(layer: LayerTensors, logits: Tensor) -> Tensor:
    if layer.sinks is None:
        return logits
    sinks = layer.sinks.double()[:, None, None].expand(*logits.shape[:2], 1)
    return torch.cat([logits, sinks], -1)


def is_allowed(layer: LayerTensors, weakest_mask: float = -50.0) -> Tensor:
    """Return where a query may attend to a key, [heads, queries, keys]: by the masks alone."""
    return exact_logits(replace(layer, query=torch.zeros_like(layer.query))) > weakest_mask


def exact_weights(layer: LayerTensors) -> Tensor:
    """Return the weights [heads, queries, keys] in float64; zeros for a row without any key."""
    logits = exact_logits(layer)
    keys = logits.shape[-1]
    return _with_sinks(layer, logits).softmax(-1)[..., :keys].nan_to_num(0.0)


def exact_parts(layer: LayerTensors) -> dict[str, Tensor]:
    """Return in float64 what the kernels sum up, [heads]."""
    allowed, weights = is_allowed(layer), exact_weights(layer)
    _, queries, keys = layer.shape
    counts = torch.ones(queries).bool() if layer.padding is None else ~layer.padding
    allowed_keys = allowed.sum(-1)
    attends, compares = counts & (allowed_keys >= 1), counts & (allowed_keys >= 2)
    place = torch.arange(queries).double()
    positions = place * (keys / queries) if layer.is_scaled else place + layer.earlier
    away = (positions[:, None] - torch.arange(keys)).abs()
    nearest = positions.round().long().clamp_max(keys - 1)
    entropy = -torch.xlogy(weights, weights).sum(-1)
    own = weights.gather(-1, nearest.expand(len(weights), -1)[..., None])[..., 0]
    counted = weights * counts[:, None]
    received = counted.sum(1)
    later = (torch.arange(keys) > positions[:, None]).double()

    seen = (allowed & counts[:, None]).any(1)
    seen[:, 0] &= received[:, 0] <= SINK_SHARE * attends.sum(-1)
    others = (received * seen).sum(-1)
    most = torch.maximum(attends.sum(-1), seen.sum(-1)) / others.clamp_min(1e-30)
    shares = (torch.clamp_max(received * most[:, None], 1) * seen).sum(-1)
    is_real, is_padding = counts, torch.zeros(keys).bool()
    if layer.declared is not None:
        is_real, is_padding = counts & ~layer.declared[0], layer.declared[1]

    def over(rows: Tensor, values: Tensor) -> Tensor:
        return torch.where(rows, values, 0.0).sum(-1)

    return {
        "counted": counts.sum().double().expand(len(weights)),
        "attending": attends.sum(-1).double(),
        "comparing": compares.sum(-1).double(),
        "mass": counted.sum((1, 2)),
        "effective_keys": over(attends, entropy.exp()),
        "first_token": over(attends, weights[..., 0]),
        "distance": over(attends, (weights * away).sum(-1)),
        "diagonal": over(attends, own),
        "entropy": over(compares, entropy / allowed_keys.clamp_min(2).double().log()),
        "future": over(counts, (weights * later).sum(-1)),
        "min": weights[:, counts].amin((1, 2)),
        "max": weights[:, counts].amax((1, 2)),
        "spread": ((weights - 1 / keys) * counts[:, None]).square().sum((1, 2)),
        "total": received.sum(-1),
        "squared": received.square().sum(-1),
        "largest": received.amax(-1),
        "others": others,
        "seen": seen.sum(-1).double(),
        "shares": shares,
        "padding": over(is_real, weights[..., is_padding].sum(-1)),
    }


def exact_logits_of_cells(layer: LayerTensors, side: int) -> Tensor:
    """Return [heads, 2, query cells] the largest log-sum-exp and logit of each row of cells."""
    logits = exact_logits(layer)
    counts = torch.ones(layer.shape[1]).bool() if layer.padding is None else ~layer.padding
    attends = counts & is_allowed(layer).any(-1)
    lse = _with_sinks(layer, logits).logsumexp(-1)
    both = torch.stack([lse, logits.amax(-1)], 1)
    both = torch.where(attends[:, None], both, -math.inf)
    step = max(1, -(-layer.shape[1] // side))
    return torch.stack([part.amax(-1) for part in both.split(step, -1)], -1)


def exact_cells(layer: LayerTensors, side: int) -> Tensor:
    """Return the map pooled by mass, in float64."""
    weights = exact_weights(layer)
    _, queries, keys = layer.shape
    rows, columns = (max(1, -(-length // side)) for length in (queries, keys))
    by_keys = torch.stack([part.sum(-1) for part in weights.split(columns, 2)], 2)
    return torch.stack([part.mean(1) for part in by_keys.split(rows, 1)], 1)
