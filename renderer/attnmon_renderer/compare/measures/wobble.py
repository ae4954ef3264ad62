"""How much a run's own numbers move from one capture to the next, which a difference must exceed.

A difference is within a run's wobble if it is no larger than that of 95 of 100 neighbouring
captures of the run, of those nearest to the one that is compared. The bound is the value of that
rank among them with the difference itself counted in (as in conformal prediction: Vovk et al.
2005), so that of few captures it is the largest. Two runs have two bounds, of which the smaller
one decides: a wild run excuses nothing.

A capture as a whole is judged by one number: the root of the mean square, over all its numbers, of
how far each has moved, in units of how far it usually does.
"""

import math
from dataclasses import dataclass

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles

NEIGHBOURS = 20
"""Pairs of neighbouring captures that are looked at in each run."""
LEAST_PAIRS = 2
"""With fewer nothing is known of how much a run wobbles."""
SHARE = 0.95
_ROUNDING = 1e-6
"""Numbers are kept to about this part of themselves."""
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, slots=True)
class Wobble:
    """What two runs' own movement is, and how the difference between them compares with it."""

    of_each: Doubles
    """[numbers] The smaller one of the two runs' bounds; NaN where it is not known."""
    times: Doubles
    """[numbers] How many wobbles the difference is; NaN where it is not known."""
    score: float | None
    """The difference as a whole, in units of the smaller bound: above 1 it is no wobble. None where
    that is not known."""


def measure(a: Doubles, b: Doubles, near_a: Doubles, near_b: Doubles) -> Wobble:
    """Compare the difference of two captures with the movement of the runs they are from.

    Args:
        a: [numbers] Those of a capture of the first run.
        b: Likewise, of the second run.
        near_a: [captures, numbers] Neighbouring captures of the first run, in order.
        near_b: Likewise, of the second run.
    """
    moves = [np.abs(np.diff(near, axis=0)) for near in (near_a, near_b)]
    difference = np.abs(b - a)
    if min(map(len, moves)) < LEAST_PAIRS:
        return Wobble(np.full(a.shape, np.nan), np.full(a.shape, np.nan), None)
    least = _ROUNDING * np.maximum(np.abs(a), np.abs(b)) + _TINY
    of_each = np.minimum(*(bound(each) for each in moves))
    times = difference / np.maximum(of_each, least)
    usual = np.maximum(_root_mean_square(np.vstack(moves), 0), least)
    if not np.isfinite(difference / usual).any():
        return Wobble(of_each, times, None)
    size = float(_root_mean_square((difference / usual)[None], 1)[0])
    allowed = min(float(bound(_root_mean_square(each / usual, 1))) for each in moves)
    return Wobble(of_each, times, times_of(size, allowed))


def bound(moves: Doubles) -> Doubles:
    """Return what 95 of 100 do not exceed, along the first dimension; NaN if any is NaN."""
    rank = min(len(moves), math.ceil(SHARE * (len(moves) + 1)))
    return np.asarray(np.sort(moves, axis=0)[rank - 1])


def times_of(size: float, allowed: float) -> float:
    """Return how many times the one is the other: 0 for no difference, whatever is allowed."""
    return size / max(allowed, 1e-9) if size else 0.0


def _root_mean_square(values: Doubles, axis: int) -> Doubles:
    """Return that of those that are known; NaN where none is."""
    counts = np.isfinite(values).sum(axis)
    squares = np.where(np.isfinite(values), values, 0.0) ** 2
    means = squares.sum(axis) / np.maximum(counts, 1)
    return np.where(counts > 0, np.sqrt(means), np.nan)
