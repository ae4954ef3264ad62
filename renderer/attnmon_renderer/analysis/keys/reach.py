"""How far ahead the queries of a layer may look: found in a few of its rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]
Allowed = Callable[[Indices], npt.NDArray[Any]]
"""From the indices of rows, ascending, to [rows, keys]: whether the query may see the key."""

MOST_PAIRS = 64
"""Pairs of neighbouring rows that are looked at: a mask that is wrong is so in most rows."""
LEAST_QUERIES = 4
NEARER = 4
"""A band that reaches behind less than so many times as far as ahead is local attention."""


class Reach(NamedTuple):
    """What a layer's mask lets its queries see."""

    ahead: int | None = None
    """Keys behind its own position that a query sees, where each sees one more than the one before
    it, as under a causal mask (0); None for other masks."""
    sees_all: bool = False
    """Whether every query sees the last key, so that none is kept from what comes."""


def reach_of(allowed: Allowed, queries: int, earlier: int = 0) -> Reach:
    """Return how far the queries see.

    Args:
        earlier: keys before the first query's own.
    """
    if queries < LEAST_QUERIES:
        return Reach()
    rows = _pairs(queries)
    seen = np.asarray(allowed(rows), np.bool_)
    last = seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
    return _reach(rows, np.asarray(seen.any(axis=1)), seen.argmax(axis=1), last, earlier)


def reach_between(ends: npt.NDArray[Any], earlier: int = 0) -> Reach:
    """Return the same from the first and last key that each query sees, [2, queries].

    The last is −1 where a query sees none.
    """
    queries = ends.shape[1]
    if queries < LEAST_QUERIES:
        return Reach()
    rows = _pairs(queries)
    first, last = ends[:, rows].astype(np.intp)
    return _reach(rows, last >= 0, first, last, earlier)


def _reach(
    rows: Indices, sees: npt.NDArray[np.bool_], starts: Indices, last: Indices, earlier: int
) -> Reach:
    behind = rows + earlier - starts
    end = int(last[sees].max(initial=-1))
    if bool(sees.any()) and bool((last[sees] == end).all()):
        return Reach(sees_all=True)
    first = np.flatnonzero((np.diff(rows) == 1) & sees[:-1] & sees[1:] & (last[:-1] < end))
    grows = first[last[first + 1] == last[first] + 1]
    if not len(first) or 2 * len(grows) < len(first):
        return Reach()
    ahead = int(np.median(last[grows] - rows[grows] - earlier))
    is_local = ahead > 0 and NEARER * ahead > int(behind[grows].max())
    return Reach() if is_local else Reach(ahead)


def _pairs(queries: int) -> Indices:
    """Return the indices of evenly spaced pairs of neighbouring rows, ascending."""
    first = np.linspace(0, queries - 2, min(MOST_PAIRS, queries - 1)).round().astype(np.intp)
    return np.unique(np.concatenate([first, first + 1]))
