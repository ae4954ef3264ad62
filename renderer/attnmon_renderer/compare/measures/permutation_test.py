"""Tells whether two groups of runs differ by more than runs of one group do among themselves.

One number decides, chosen before any run was seen: the share of the runs' variance that the
grouping explains, over all that describes a run (PERMANOVA: Anderson 2001, Austral Ecology 26). Its
p value is exact: how many of all ways to deal the runs out to two groups explain as much. As it is
one test, there is nothing to correct for many layers, heads and statistics.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles

LEVEL = 0.05
"""Groups differ when p is at most this."""
MOST_DEALS = 20_000
"""Of more ways to deal the runs out, so many are drawn at random."""


@dataclass(frozen=True, slots=True)
class GroupTest:
    """The result of a test of two groups."""

    effect: float
    """Share of the variance between runs that the grouping explains, 0 to 1."""
    p: float
    """The share of all ways to deal the runs out that explain as much."""
    expected: float
    """What the share is on average, where the runs are dealt out at random."""
    smallest_p: float
    """What p is where no other way to deal the runs out explains as much."""
    is_equal: bool
    """Whether no run differs from any other."""

    def to_json(self) -> dict[str, float]:
        names = ("effect", "expected", "p", "smallest_p")
        return {name: getattr(self, name) for name in names}

    @property
    def differs(self) -> bool:
        return self.p <= LEVEL

    @property
    def can_differ(self) -> bool:
        """Whether there are enough runs for any difference to be found."""
        return self.smallest_p <= LEVEL


def permutation_test(a: Doubles, b: Doubles) -> GroupTest:
    """Compare two groups of runs.

    Args:
        a: [runs, numbers] What describes each run; a number that is NaN in any run is left out.
        b: Likewise.
    """
    every = np.vstack([a, b])
    squares = _squared_distances(_standardized(every))
    observed = _explained(squares, tuple(range(len(a))))
    count = comb(len(every), len(a))
    deals = _all_deals(len(every), len(a)) if count <= MOST_DEALS else _drawn(len(every), len(a))
    shares = np.array([_explained(squares, deal) for deal in deals])
    as_large = int((shares >= observed - 1e-9).sum())
    mirrored = 2 if len(a) == len(b) else 1  # the two groups exchanged explain the same
    smallest = mirrored / min(count, MOST_DEALS)
    is_equal = not squares.any()
    return GroupTest(observed, as_large / len(shares), float(shares.mean()), smallest, is_equal)


def _standardized(runs: Doubles) -> Doubles:
    """Return each number less its mean, by its spread over all runs; those without one are out."""
    known = runs[:, np.isfinite(runs).all(0)]
    spread = known.std(0)
    moves = spread > 1e-9 * np.abs(known).max(0, initial=0)
    return np.asarray((known[:, moves] - known[:, moves].mean(0)) / spread[moves])


def _squared_distances(runs: Doubles) -> Doubles:
    differences = runs[:, None, :] - runs[None, :, :]
    return np.asarray((differences**2).sum(-1))


def _explained(squares: Doubles, first: tuple[int, ...]) -> float:
    """Return the share of all variance that is not within these runs, nor within the others."""
    total = squares.sum() / len(squares)
    if total == 0:
        return 0.0
    is_first = np.zeros(len(squares), bool)
    is_first[list(first)] = True
    within = sum(squares[np.ix_(of, of)].sum() / of.sum() for of in (is_first, ~is_first))
    return float(1 - within / total)


def _all_deals(runs: int, first: int) -> Iterator[tuple[int, ...]]:
    return combinations(range(runs), first)


def _drawn(runs: int, first: int) -> Iterator[tuple[int, ...]]:
    """Yield the true one, and others that are drawn, always the same ones."""
    random = np.random.default_rng(0)
    yield tuple(range(first))
    for _ in range(MOST_DEALS - 1):
        yield tuple(random.permutation(runs)[:first].tolist())
