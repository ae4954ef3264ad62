"""The mean over heads as pictures show it, against float64, in Triton's interpreter."""

import math
from dataclasses import replace

import pytest
import torch
from support.surveyed import averaged, exact_cells, is_allowed
from torch import Tensor

from attnmon.device.cell_grid import AverageGrid
from attnmon.device.layer_tensors import LayerTensors

pytest.importorskip("triton", reason="Triton has no wheel for this machine")


def made(heads: int, queries: int, keys: int | None = None, key_heads: int = 0) -> LayerTensors:
    generator = torch.Generator().manual_seed(queries)
    query = torch.randn(heads, queries, 16, generator=generator) * 2
    key = torch.randn(key_heads or heads, keys or queries, 16, generator=generator)
    return LayerTensors(query, key, 0.25)


def codes(weights: Tensor) -> Tensor:
    """Return weights as a picture, and a stored map, shows them."""
    return (255 * (weights / weights.max()).sqrt()).round()


def pooled(allowed: Tensor, side: int) -> Tensor:
    rows, columns = (max(1, -(-length // side)) for length in allowed.shape)
    by_keys = torch.stack([part.any(1) for part in allowed.split(columns, 1)], 1)
    return torch.stack([part.any(0) for part in by_keys.split(rows, 0)], 0)


REAL = torch.arange(37) < 30
WINDOW = torch.ones(37, 37).tril().triu(-9).bool()
LAYERS = {
    "each position": (replace(made(2, 37), causal=True), 64),
    "cells of 2": (replace(made(3, 37), causal=True), 19),
    "cells of 3": (replace(made(2, 37), causal=True), 16),
    "one cell": (replace(made(2, 37), causal=True), 1),
    "not causal": (made(2, 37), 64),
    "cross": (made(4, 20, 45, key_heads=2), 16),
    "causal, fewer queries": (replace(made(2, 20, 31), causal=True), 9),
    "padding": (replace(made(2, 37), causal=True, bias=REAL[None]), 20),
    "a mask a head": (replace(made(2, 37), bias=torch.stack([WINDOW, WINDOW.T])), 20),
    "masked by -100": (replace(made(2, 37), bias=torch.where(WINDOW, 0.0, -100.0)), 64),
    "soft cap and sinks": (
        replace(made(2, 37), softcap=3.0, sinks=torch.tensor([1.0, -1.0]), causal=True), 64
    ),
    "a number added": (replace(made(2, 20), bias=torch.randn(2, 20, 20)), 7),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_picture_of_it_is_within_one_code_of_float64(name: str) -> None:
    layer, side = LAYERS[name]
    exact = exact_cells(layer, side).mean(0)
    is_open = pooled(is_allowed(layer).any(0), side)
    found, closed = averaged(layer, side, 16, 5)
    assert torch.equal(closed, ~is_open)
    shown = exact * is_open
    assert (codes(found.double()) - codes(shown)).abs().max() <= 1
    torch.testing.assert_close(found.double().max(), shown.max(), rtol=1e-5, atol=0)


def test_tiles_of_one_cell_have_its_weight() -> None:
    layer = replace(made(1, 40), causal=True)
    found, _ = averaged(layer, 2, 16, 2)
    torch.testing.assert_close(found.double(), exact_cells(layer, 2)[0], rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_is_told_apart() -> None:
    layer = replace(made(2, 20), causal=True)
    layer.query[0, 7, 3] = math.nan
    found, closed = averaged(layer, 20, 16, 9)
    assert torch.isnan(found[7, :8]).all()
    assert closed[7, 8:].all()
    rest = torch.arange(20) != 7
    assert torch.isfinite(found[rest]).all()
    exact = exact_cells(layer, 20).mean(0)[rest]
    assert (codes(found[rest].double()) - codes(exact)).abs().max() <= 1


@pytest.mark.parametrize(("positions", "tiles"), [(8192, 8256), (2**17, 524_800)])
def test_a_causal_map_has_no_tile_above_its_diagonal(positions: int, tiles: int) -> None:
    empty = torch.empty(1, positions, 128, dtype=torch.bfloat16, device="meta")
    grid = AverageGrid.of(LayerTensors(empty, empty, 1.0, causal=True), 1024)
    assert grid.tiles == tiles
