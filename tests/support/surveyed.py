"""Surveys of layers on the CPU, in Triton's interpreter, and the same in float64."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.survey_grid import SurveyGrid
from attnmon.device.survey_launch import SurveyMemory, launch
from attnmon.link.summaries.summary_parts import COLUMN_PARTS, KEY_PARTS, ROW_PARTS, SINK_SHARE


@dataclass(frozen=True)
class Surveyed:
    """What the kernels leave, each sum over all programs of a head."""

    memory: SurveyMemory
    parts: Mapping[str, Tensor]
    """float64 [heads], by the names of the parts."""


def survey(layer: LayerTensors, side: int | None = 128, tile: int = 32) -> Surveyed:
    """Run both kernels. `tile`: fewer, larger tiles are quicker in the interpreter."""
    grid = SurveyGrid.of(layer, side)
    object.__setattr__(grid, "tile", tile)
    heads, key_heads = layer.shape[0], len(layer.key)
    scratch = torch.full((512 + heads * (grid.bytes_kept + grid.bytes_sent),), 0xFF).byte()
    memory = SurveyMemory.on(scratch, grid, heads, key_heads)
    launch(layer, grid, memory)
    parts = {
        **dict(zip(ROW_PARTS, memory.rows.double().unbind(2), strict=True)),
        **dict(zip(COLUMN_PARTS, memory.columns.double().unbind(2), strict=True)),
    }
    extremes = {"row_sum_error": torch.amax, "min": torch.amin}
    extremes["max"] = torch.amax
    summed = {name: extremes.get(name, torch.sum)(part, 1) for name, part in parts.items()}
    keys = dict(zip(KEY_PARTS, memory.keys.double().unbind(1), strict=True))
    return Surveyed(memory, summed | keys)


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


def is_allowed(layer: LayerTensors) -> Tensor:
    """Return where a query may attend to a key, [heads, queries, keys]: by the masks alone."""
    return exact_logits(replace(layer, query=torch.zeros_like(layer.query))) > -9e3


def exact_weights(layer: LayerTensors) -> Tensor:
    """Return the weights [heads, queries, keys] in float64; zeros for a row without any key."""
    logits = exact_logits(layer)
    if layer.sinks is not None:
        sinks = layer.sinks.double()[:, None, None].expand(*logits.shape[:2], 1)
        return torch.cat([logits, sinks], -1).softmax(-1)[..., :-1]
    return logits.softmax(-1).nan_to_num(0.0)


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
    every = logits
    if layer.sinks is not None:
        sinks = layer.sinks.double()[:, None, None].expand(*logits.shape[:2], 1)
        every = torch.cat([logits, sinks], -1)
    both = torch.stack([every.logsumexp(-1), logits.amax(-1)], 1)
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
