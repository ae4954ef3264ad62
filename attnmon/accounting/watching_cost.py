"""Estimates what watching a forward costs beside the time that is counted inside it.

What the monitor does to a module's call makes the calls around it slower, and no clock of its own
shows that. So some forwards that are not watched are timed as well, each next to one that is, and
the medians are compared.
"""

from collections import defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from statistics import median

FIRST_PAIRS = 8
"""So many watched forwards of a kind are compared with the next one, later one in so many."""
FEWEST_PAIRS = 7
"""Pairs from which an estimate is made: single forwards vary by more than watching them takes.

On a busy machine three pairs told half as much again as there was, in the mean, since nothing below
zero is told.
"""
MOST_PAIRS = 63
"""Pairs of which the latest are kept: trainings become slower or faster."""


@dataclass(slots=True)
class _Pairs:
    """Seconds of forwards of one kind, and of their neighbours that were not watched."""

    watched: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_PAIRS))
    """Without the time counted inside them."""
    plain: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_PAIRS))
    latest: float = 0.0
    count: int = 0
    """Watched forwards so far."""
    cost: float | None = None
    """Seconds that watching one takes; None if it could not be estimated yet."""
    unpaid: int = 0
    """Those whose cost could not be estimated yet."""


class WatchingCost:
    """What forwards took, by the kind of watching; tells the cost of each that was watched."""

    def __init__(self) -> None:
        self._pairs: defaultdict[Hashable, _Pairs] = defaultdict(_Pairs)
        self._kind: Hashable = None

    @property
    def wants_plain(self) -> bool:
        """Whether the next forward is to be timed without watching it."""
        count = self._pairs[self._kind].count
        return 0 < count <= FIRST_PAIRS or count % FIRST_PAIRS == 1

    def add_watched(self, kind: Hashable, seconds: float) -> float:
        """Return the seconds to count for this forward, and for earlier ones not counted yet.

        kind: forwards of one kind are watched alike. seconds: without the time counted inside it.
        """
        self._kind = kind
        pairs = self._pairs[kind]
        pairs.count += 1
        pairs.unpaid += 1
        pairs.latest = seconds
        if pairs.cost is None:
            return 0.0
        unpaid, pairs.unpaid = pairs.unpaid, 0
        return unpaid * pairs.cost

    def add_plain(self, seconds: float) -> None:
        """Compare with the latest that was watched one that was not, and came next."""
        pairs = self._pairs[self._kind]
        pairs.watched.append(pairs.latest)
        pairs.plain.append(seconds)
        if len(pairs.plain) >= FEWEST_PAIRS:
            pairs.cost = max(0.0, median(pairs.watched) - median(pairs.plain))
