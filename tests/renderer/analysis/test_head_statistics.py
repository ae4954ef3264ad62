"""Each statistic of a head, on rows whose value is known by hand."""

import numpy as np
import pytest

from attnmon_renderer.analysis.arrays import Rows
from attnmon_renderer.analysis.head_statistics import HEAD_STATISTICS, TileRows
from attnmon_renderer.analysis.masks import Mask
from attnmon_renderer.analysis.softmax_tile import tile_from_weights

WEIGHTS = np.array([[[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]]], np.float32)
"""One head; the queries are the first three of four positions."""


def rows_of(weights: np.ndarray) -> TileRows:
    rows = Rows(np.arange(weights.shape[1]))
    mask = Mask(None, causal=False).tile(slice(0, 1), rows, weights.shape[2])
    positions = rows.indices.astype(np.float64)
    distances = abs(positions[:, None] - np.arange(weights.shape[2])).astype(np.float32)
    logarithms = np.log(np.where(weights > 0, weights, 1))
    return TileRows(
        tile_from_weights(slice(0, 1), rows, weights, mask),
        weights.sum(axis=2),
        -(weights * logarithms).sum(axis=2),
        mask.allowed_keys,
        positions,
        distances,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("effective_keys", [1, 2, 4]),
        ("first_token", [1, 0.5, 0.25]),
        ("distance", [0, 0.5, 1]),
        ("diagonal", [1, 0.5, 0.25]),
        ("entropy", [0, 0.5, 1]),
    ],
)
def test_each_row_has_the_value_of_the_formula(name: str, expected: list[float]) -> None:
    found = HEAD_STATISTICS[name].of_rows(rows_of(WEIGHTS))
    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_a_row_with_one_key_counts_for_all_but_the_entropy() -> None:
    needed = {name: statistic.least_keys for name, statistic in HEAD_STATISTICS.items()}
    assert needed == dict.fromkeys(HEAD_STATISTICS, 1) | {"entropy": 2}
