"""One tile of softmax weights against PyTorch's softmax in float64."""

import numpy as np
import pytest
import torch

from attnmon_renderer.analysis.arrays import Rows
from attnmon_renderer.analysis.masks import Mask
from attnmon_renderer.analysis.softmax_tile import tile_from_logits, tile_from_weights

HEADS, ROWS, KEYS = 2, 3, 5


def random_logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (HEADS, ROWS, KEYS)).astype(np.float32)


@pytest.mark.parametrize("sinks", [None, np.array([0.5, -2.0], np.float32)])
def test_a_tile_is_the_softmax_and_says_what_the_sink_took(sinks: np.ndarray | None) -> None:
    logits, rows = random_logits(), Rows(np.arange(ROWS))
    columns = torch.from_numpy(logits.copy()).double()
    if sinks is not None:
        column = torch.from_numpy(sinks)[:, None, None].expand(HEADS, ROWS, 1)
        columns = torch.cat([columns, column], dim=2)
    expected = columns.softmax(dim=2)
    mask = Mask(None, causal=False).tile(slice(0, HEADS), rows, KEYS)
    tile = tile_from_logits(slice(0, HEADS), rows, logits, mask, sinks, np.empty_like(logits))
    np.testing.assert_allclose(tile.weights(KEYS), expected[:, :, :KEYS], atol=1e-6)
    assert tile.largest_logits is not None
    np.testing.assert_array_equal(tile.largest_logits, random_logits().max(axis=2))
    largest = tile.factors * tile.largest_numerators
    np.testing.assert_allclose(largest, expected[:, :, :KEYS].amax(dim=2), atol=1e-6)
    if sinks is not None:
        assert tile.sink_shares is not None
        np.testing.assert_allclose(tile.sink_shares, expected[:, :, KEYS], atol=1e-6)


def test_a_row_without_an_allowed_key_has_no_weight() -> None:
    logits, rows = random_logits(), Rows(np.arange(ROWS))
    allowed = np.ones((ROWS, KEYS), np.bool_)
    allowed[1] = False
    mask = Mask(allowed, causal=False).tile(slice(0, HEADS), rows, KEYS)
    tile = tile_from_logits(slice(0, HEADS), rows, logits, mask, None, np.empty_like(logits))
    np.testing.assert_allclose(tile.weights(KEYS).sum(axis=2), [[1, 0, 1]] * HEADS, atol=1e-6)


def test_keys_that_were_not_computed_have_weight_zero() -> None:
    weights, rows = np.full((1, 2, 3), 1 / 3, np.float32), Rows(np.arange(2))
    mask = Mask(None, causal=True).tile(slice(0, 1), rows, 3)
    found = tile_from_weights(slice(0, 1), rows, weights, mask).weights(KEYS)
    np.testing.assert_array_equal(found[:, :, :3], weights)
    np.testing.assert_array_equal(found[:, :, 3:], 0)
