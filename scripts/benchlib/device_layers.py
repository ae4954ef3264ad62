"""Layers that a CUDA device sums up: made, measured, and compared with the same in float64."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from attnmon.device.average_launch import AverageMemory
from attnmon.device.cell_grid import AverageGrid, CellGrid
from attnmon.device.kernel_support import MEMORY
from attnmon.device.layer_survey import survey_layer
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import find_mask_bound
from attnmon.device.survey_grid import SurveyGrid
from attnmon.device.survey_launch import SurveyMemory
from attnmon.link.summaries.summary_parts import AVERAGE_LEVELS, CLOSED_CODE, ROW_PARTS

SIDE, PICTURE = 128, 1024
"""Cells a side of the maps that are stored, and of the mean that a picture shows."""
Memory = SurveyMemory | AverageMemory


def layer_on(
    device: str, heads: int, positions: int, width: int, dtype: torch.dtype, key_heads: int = 0
) -> LayerTensors:
    """Return a causal layer of random queries and keys."""
    query = torch.randn(heads, positions, width, device=device, dtype=dtype)
    key = torch.randn(key_heads or heads, positions, width, device=device, dtype=dtype)
    return LayerTensors(query, key, width**-0.5, causal=True)


def variants(device: str) -> dict[str, LayerTensors]:
    """Return a layer for each way in which the kernels are compiled, of odd lengths."""
    plain = layer_on(device, 4, 517, 64, torch.float32)
    half = layer_on(device, 8, 1000, 128, torch.bfloat16, key_heads=2)
    keys = torch.arange(517, device=device)
    window = (keys[:, None] - keys).abs() < 100
    return {
        "float32": plain,
        "bfloat16, grouped": half,
        "float16, not causal": replace(layer_on(device, 2, 300, 80, torch.float16), causal=False),
        "width 256": layer_on(device, 2, 260, 256, torch.bfloat16),
        "soft cap, sinks": replace(plain, softcap=5.0, sinks=torch.randn(4, device=device)),
        "window": replace(plain, bias=window, causal=False),
        "added mask": replace(plain, bias=torch.randn(4, 517, 517, device=device)),
        "padding": replace(plain, bias=(keys < 500)[None], padding=keys >= 500),
        "short": layer_on(device, 3, 7, 16, torch.float32),
    }


def survey(layer: LayerTensors, scratch: Tensor, window: bool = False) -> Iterator[Memory]:
    """Sum up a layer, with the maps of its heads and their mean; yield what each launch leaves.

    window: with the weights of its first queries.
    """
    told = replace(layer, bound=find_mask_bound(layer))
    grid = SurveyGrid.of(layer, SIDE, PICTURE, window=window)
    for _, memory in survey_layer(told, grid, scratch):
        yield memory


def new_scratch(device: str) -> Tensor:
    """Return the memory that a layer is summed up in."""
    return torch.empty(MEMORY, dtype=torch.uint8, device=device)


def weights_of(layer: LayerTensors, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return all weights [heads, queries, keys], materialised."""
    group = layer.shape[0] // len(layer.key)
    key = layer.key.to(dtype).repeat_interleave(group, 0)
    logits = layer.query.to(dtype) @ key.mT * layer.scale
    if layer.softcap:
        logits = layer.softcap * torch.tanh(logits / layer.softcap)
    if layer.bias is not None and layer.bias.dtype == torch.bool:
        logits = logits.masked_fill(~layer.bias, -math.inf)
    elif layer.bias is not None:
        logits = logits + layer.bias.to(dtype)
    if layer.causal:
        future = torch.ones(logits.shape[1:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(future, -math.inf)
    if layer.sinks is None:
        return logits.softmax(-1)
    sinks = layer.sinks.to(dtype)[:, None, None].expand(*logits.shape[:2], 1)
    return torch.cat([logits, sinks], -1).softmax(-1)[..., :-1]


def largest_error(layer: LayerTensors) -> float:
    """Return the largest difference to float64: of mean entropies, first keys, and cells."""
    weights = weights_of(layer)
    errors: list[Tensor] = []
    scratch = new_scratch(str(layer.query.device))
    for memory in survey(layer, scratch, window=layer.bias is None):
        if isinstance(memory, SurveyMemory):  # of all heads: these are summed up at once
            errors += _errors_of_sums(layer, weights, memory)
        else:
            errors += _errors_of_mean(layer, weights, memory)
    return float(torch.stack(errors).max())


def _errors_of_sums(layer: LayerTensors, weights: Tensor, memory: SurveyMemory) -> list[Tensor]:
    counts = torch.ones_like(weights[0, :, 0]) if layer.padding is None else ~layer.padding
    rows = memory.rows.double().sum(1)
    entropy = -torch.xlogy(weights, weights).sum(-1)
    expected = {
        "effective_keys": (entropy.exp() * counts).sum(-1) / entropy.exp().mean(),
        "first_token": (weights[..., 0] * counts).sum(-1),
        "mass": (weights.sum(-1) * counts).sum(-1),
    }
    scale = {"effective_keys": entropy.exp().mean()}
    errors = [
        (rows[:, ROW_PARTS.index(name)] / scale.get(name, 1.0) - sums).abs().max() / counts.sum()
        for name, sums in expected.items()
    ]
    grid = SurveyGrid.of(layer, SIDE)
    cells = _pooled(weights, grid)
    if grid.is_triangle:
        cells = cells[:, *torch.tril_indices(*cells.shape[1:], device=cells.device)]
    found = memory.cells.abs().double()
    errors.append((found - cells.flatten(1)).abs().max() / 100)  # they are float16
    if (first := memory.window.shape[1]) > 0:
        errors.append((memory.window.double() - weights[:, :first]).abs().max())
    return errors


def _errors_of_mean(layer: LayerTensors, weights: Tensor, memory: AverageMemory) -> list[Tensor]:
    """Compare tiles by the codes of a picture, of which one is 1e-5 here."""
    grid = AverageGrid.of(layer, PICTURE)
    mean = _pooled(weights.mean(0, keepdim=True), grid)[0]
    errors = []
    for place, (scale, codes) in enumerate(zip(memory.scales, memory.codes, strict=True)):
        row, column = _tile(memory.first + place, grid)
        tall, wide = codes.shape
        exact = mean[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        found = codes[: exact.shape[0], : exact.shape[1]]
        shares = (found / AVERAGE_LEVELS).masked_fill(found == CLOSED_CODE, 0).double()
        apart = shares * scale.double().sqrt() - exact.sqrt()
        errors.append(255e-5 * apart.abs().max() / mean.max().sqrt())
    return errors


def _tile(number: int, grid: AverageGrid) -> tuple[int, int]:
    """Return the row and the column of the tile of this number."""
    if not grid.is_triangle:
        return divmod(number, grid.key_tiles)
    row = (math.isqrt(8 * number + 1) - 1) // 2
    return row, number - row * (row + 1) // 2


def _pooled(weights: Tensor, grid: CellGrid) -> Tensor:
    by_keys = torch.stack([part.sum(-1) for part in weights.split(grid.key_step, 2)], 2)
    return torch.stack([part.mean(1) for part in by_keys.split(grid.query_step, 1)], 1)


def materialised(layer: LayerTensors) -> Tensor:
    """Do what one would without a kernel: all weights, their entropy and their pooled map."""
    weights = weights_of(layer, torch.float32)
    entropy = -torch.xlogy(weights, weights).sum(-1).mean(-1)
    step = max(1, -(-layer.shape[1] // SIDE))
    pooled = torch.nn.functional.avg_pool2d(weights[None], step, ceil_mode=True)[0]
    return entropy + pooled.mean((1, 2))


def median_ms(run: Callable[[], object], times: int = 5) -> float:
    """Return what a run takes on the device, in ms, with the start of its kernels."""
    run()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 1e3 * sorted(seconds)[times // 2]


def peak_bytes(run: Callable[[], object]) -> int:
    """Return how much more memory of the device is allocated at a time while this runs."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
