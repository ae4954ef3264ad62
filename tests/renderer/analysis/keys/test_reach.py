"""How far queries see, for the masks that people build and those they build by mistake."""

from typing import Any

import numpy as np
import pytest

from attnmon_renderer.analysis.keys.reach import Reach, reach_of

N = 96
AT = np.arange(N)
DISTANCE = AT[:, None] - AT
"""Of the key behind the query: negative for later keys."""


def reach(mask: Any, earlier: int = 0) -> Reach:
    allowed = np.asarray(mask)
    return reach_of(lambda rows: allowed[rows], len(allowed), earlier)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (DISTANCE >= 0, Reach(0)),
        (DISTANCE >= -1, Reach(1)),
        (DISTANCE >= -3, Reach(3)),
        (DISTANCE >= 1, Reach(-1)),
        (np.ones((N, N)), Reach(sees_all=True)),
        ((DISTANCE >= 0) & (DISTANCE < 16), Reach(0)),  # a sliding window
        ((DISTANCE >= -1) & (DISTANCE < 16), Reach(1)),
        (abs(DISTANCE) <= 5, Reach()),  # local attention
        (AT[:, None] // 8 >= AT // 8, Reach()),  # block by block
        (AT[:, None] // 32 == AT // 32, Reach()),  # documents side by side
        ((AT[:, None] // 32 == AT // 32) & (DISTANCE >= 0), Reach(0)),
        ((DISTANCE >= 0) | (AT < 40), Reach(0)),  # a prefix that sees itself
        ((DISTANCE >= 0) & (AT < 60), Reach(0)),  # padded on the right
        ((DISTANCE >= -1) & (AT < 60), Reach(1)),
        ((DISTANCE >= 0) & (AT >= 30), Reach(0)),  # padded on the left
        (np.broadcast_to(AT < 60, (N, N)), Reach(sees_all=True)),
        (DISTANCE <= 0, Reach(sees_all=True)),  # the wrong way round
        (np.zeros((N, N)), Reach()),
    ],
)
def test_masks(mask: Any, expected: Reach) -> None:
    assert reach(mask) == expected


def test_keys_before_the_first_query_are_no_future() -> None:
    assert reach(np.arange(N + 10) <= AT[:, None] + 10, earlier=10) == Reach(0)


@pytest.mark.parametrize("queries", [1, 2, 3])
def test_of_very_few_queries_nothing_is_said(queries: int) -> None:
    assert reach(np.tri(queries)) == Reach()
    assert reach(np.tri(4)) == Reach(0)
