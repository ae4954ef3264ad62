"""Which of a run's captures is missed least: on a logarithmic axis of steps, as training goes.

So the beginning, where most changes, keeps as many pictures as what came later.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

_Place = tuple[int, str]
"""The step of a capture, and its folder."""


class _Candidate(NamedTuple):
    gap: float
    """What its loss leaves between its neighbours."""
    place: _Place


class ThinnedCaptures:
    """Captures in the order of their steps, the first and the last of which stay.

    To add one, to remove one and to find the one that is missed least takes a time that does not
    depend on how many there are.
    """

    def __init__(self, captures: Iterable[_Place]) -> None:
        self._places = sorted(captures)
        self._candidates: list[_Candidate] = []
        """A heap; some are out of date. Empty until it is needed."""
        self._spared: dict[_Place, None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, step: int, folder: str) -> None:
        """Add a capture, which may be there already."""
        index = self._index((step, folder))
        if index is None:
            insort(self._places, (step, folder))
            index = bisect_left(self._places, (step, folder))
            self._renew(index - 1, index, index + 1)

    def remove(self, step: int, folder: str) -> None:
        """Remove a capture, if it is there."""
        index = self._index((step, folder))
        if index is not None:
            self._spared.pop((step, folder), None)
            del self._places[index]
            self._renew(index - 1, index)

    def spare(self, step: int, folder: str) -> None:
        """Let a capture stay until nothing else is left."""
        self._spared[step, folder] = None

    def least_missed(self) -> _Place | None:
        """Return the capture whose loss leaves the smallest gap; None if all others stay."""
        if not self._candidates or len(self._candidates) > 4 * len(self._places) + 64:
            self._begin()
        while self._candidates:
            gap, place = self._candidates[0]
            index = self._index(place)
            if index is not None and self._gap(index) == gap:
                return place
            heapq.heappop(self._candidates)
        return None

    def last_resort(self) -> _Place:
        """Return what goes where all stay: the spared ones in their order, then the first."""
        return next(iter(self._spared), self._places[0])

    def _begin(self) -> None:
        self._candidates = []
        for index, place in enumerate(self._places):
            if (gap := self._gap(index)) is not None:
                self._candidates.append(_Candidate(gap, place))
        heapq.heapify(self._candidates)

    def _renew(self, *indices: int) -> None:
        """Enter the gaps that have changed; nobody may have asked for one yet."""
        if not self._candidates:
            return
        for index in indices:
            if (gap := self._gap(index)) is not None:
                heapq.heappush(self._candidates, _Candidate(gap, self._places[index]))

    def _gap(self, index: int) -> float | None:
        if not 0 < index < len(self._places) - 1 or self._places[index] in self._spared:
            return None
        return _position(self._places[index + 1]) - _position(self._places[index - 1])

    def _index(self, place: _Place) -> int | None:
        index = bisect_left(self._places, place)
        return index if index < len(self._places) and self._places[index] == place else None


def _position(place: _Place) -> float:
    """Return where a capture stands on the axis: steps are counted from 0."""
    return math.log1p(max(0, place[0]))
