"""Tells whether two groups of runs differ by more than runs of one group do among themselves.

One number decides, chosen before any run was seen: the share of the runs' variance that the
grouping explains, over all that describes a run (PERMANOVA: Anderson 2001, Austral Ecology 26). Its
p value is exact: how many of all ways to deal the runs out to two groups explain as much. As it is
one test, there is nothing to correct for many layers, heads and statistics.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from attnmon_renderer.analysis.arrays import Booleans, Doubles

LEVEL = 0.05
"""Groups differ when p is at most this."""
MOST_DEALS = 10_000
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
    shares = _explained(squares, _deals(len(every), len(a)))  # the first deal is the true one
    as_large = int((shares >= shares[0] - 1e-9).sum())
    mirrored = 2 if len(a) == len(b) else 1  # the two groups exchanged explain the same
    return GroupTest(
        effect=float(shares[0]),
        p=as_large / len(shares),
        expected=float(shares.mean()),
        smallest_p=mirrored / len(shares),
        is_equal=not squares.any(),
    )


def _standardized(runs: Doubles) -> Doubles:
    """Return each number less its mean, by its spread over all runs; those without one are out."""
    known = runs[:, np.isfinite(runs).all(0)]
    spread = known.std(0)
    moves = spread > 1e-9 * np.abs(known).max(0, initial=0)
    return np.asarray((known[:, moves] - known[:, moves].mean(0)) / spread[moves])


def _squared_distances(runs: Doubles) -> Doubles:
    differences = runs[:, None, :] - runs[None, :, :]
    return np.asarray((differences**2).sum(-1))


def _explained(squares: Doubles, deals: Booleans) -> Doubles:
    """Return [deals], the share of all variance that is within neither group.

    Args:
        squares: [runs, runs] Squared distances.
        deals: [deals, runs] Which runs are in the first group.
    """
    total = squares.sum() / len(squares)
    if total == 0:
        return np.zeros(len(deals))
    groups = [each.astype(np.float64) for each in (deals, ~deals)]
    within = [((group @ squares) * group).sum(1) / group.sum(1) for group in groups]
    return np.asarray(1 - (within[0] + within[1]) / total)


def _deals(runs: int, first: int) -> Booleans:
    """Return [deals, runs], which runs are in the first group: first the true deal, then others.

    All there are; of very many some that are drawn at random, always the same ones.
    """
    count = comb(runs, first)
    if count <= MOST_DEALS:
        chosen = np.array(list(combinations(range(runs), first)))
    else:
        random = np.random.default_rng(0)
        drawn = [random.permutation(runs)[:first] for _ in range(MOST_DEALS - 1)]
        chosen = np.array([np.arange(first), *drawn])
    deals = np.zeros((len(chosen), runs), bool)
    np.put_along_axis(deals, chosen, values=True, axis=1)
    return deals
