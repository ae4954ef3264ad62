"""Masks cut to tiles, against the whole mask written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnmon_renderer.analysis.arrays import Rows
from attnmon_renderer.analysis.masks import Mask

HEADS, QUERIES, KEYS = 3, 6, 7
SHAPES = [(KEYS,), (QUERIES, KEYS), (1, QUERIES, 1), (HEADS, 1, KEYS), (HEADS, QUERIES, KEYS)]


@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 99),
    causal=st.booleans(),
    as_float=st.booleans(),
    indices=st.lists(st.integers(0, QUERIES - 1), min_size=1, unique=True).map(sorted),
    first_head=st.integers(0, HEADS - 1),
)
def test_a_tile_allows_what_the_whole_mask_allows_there(
    shape: tuple[int, ...],
    seed: int,
    causal: bool,
    as_float: bool,
    indices: list[int],
    first_head: int,
) -> None:
    bias = np.random.default_rng(seed).random(shape) < 0.6
    whole = np.broadcast_to(bias, (HEADS, QUERIES, KEYS))
    whole = whole & np.tri(QUERIES, KEYS, dtype=bool) if causal else whole
    sent = np.where(bias, np.float32(-1.5), -np.inf).astype(np.float32) if as_float else bias
    heads, rows = slice(first_head, HEADS), Rows(np.array(indices))
    tile = Mask(sent, causal).tile(heads, rows, KEYS)
    expected = whole[heads][:, indices]
    np.testing.assert_array_equal(np.broadcast_to(tile.allowed, expected.shape), expected)
    counts = np.broadcast_to(tile.allowed_keys, expected.shape[:2])
    np.testing.assert_array_equal(counts, expected.sum(axis=2))
    logits = np.zeros(expected.shape, np.float32)
    tile.apply_to(logits)
    np.testing.assert_array_equal(logits > -1e30, expected)
    assert set(logits[expected].tolist()) <= {-1.5 if as_float else 0.0}


@pytest.mark.parametrize(("bias", "expected"), [(None, None), (np.ones((2, 2), np.bool_), None)])
def test_a_bias_that_forbids_nothing_is_no_mask(bias: np.ndarray | None, expected: None) -> None:
    assert Mask(bias, causal=True).allowed is expected


@pytest.mark.parametrize(
    ("lowest", "others", "is_mask"),
    [(-100.0, 0.0, True), (-1000.0, 0.0, True), (-100.0, 0.5, False), (-20.0, 0.0, False)],
)
def test_a_bias_of_nothing_but_zero_and_a_low_number_is_a_mask(
    lowest: float, others: float, is_mask: bool
) -> None:
    seen = np.tri(QUERIES, KEYS, dtype=bool)
    bias = np.where(seen, np.float32(0), np.float32(lowest))
    bias[0, 0] = others
    mask = Mask(bias, causal=False)
    tile = mask.tile(slice(0, 1), Rows(np.arange(QUERIES)), KEYS)
    for allowed in (mask.allowed, tile.allowed, tile.only(tile.rows, slice(None)).allowed):
        expected = seen if is_mask else np.ones_like(seen)
        assert allowed is None or np.array_equal(allowed[0], expected)
    assert (mask.allowed is None) != is_mask


def test_the_future_is_masked_even_where_it_is_nan() -> None:
    logits = np.full((1, 2, 3), np.nan, np.float32)
    logits[0, :, 0] = 1
    Mask(None, causal=True).tile(slice(0, 1), Rows(np.arange(1)), 3).apply_to(logits[:, :1])
    assert np.isfinite(logits[0, 0]).all()
    assert np.isnan(logits[0, 1, 1:]).all()
