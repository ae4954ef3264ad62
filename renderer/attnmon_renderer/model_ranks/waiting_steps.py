"""Brings the records of each step together, and tells when a step waits no longer.

Memory holds the records of the steps that wait, and of a step that was merged without some of its
parts the places of the others: those parts may still come.
"""

import time
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from attnmon_renderer.model_ranks.rank_history import RankHistory, RankRecord
from attnmon_renderer.model_ranks.record_merging import Key, Record

SILENT_SECONDS = 30.0
"""How long a process may be behind the others before a step is shown without it."""
MOST_WAITING_BYTES = 1 << 25
"""Of longer histories that wait the oldest steps are shown without what is missing."""
_NOWHERE = -1


class WaitingSteps:
    """The steps of which something was read and nothing is merged.

    Args:
        expected: the places of all processes.
        histories: of the processes that have begun; more may be added.
    """

    def __init__(
        self,
        expected: Collection[Key],
        histories: Mapping[Key, RankHistory],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = sorted(expected)
        self._histories = histories
        self._clock = clock
        self._waiting: dict[int, dict[Key, RankRecord]] = {}
        self._first_seen: dict[int, float] = {}
        self._bytes = 0
        self._incomplete: dict[int, array[int]] = {}
        """Steps that were merged without a process: the places of the others' records."""

    def add(self, key: Key, records: Iterable[RankRecord]) -> None:
        """Add what was read of a process."""
        for record in records:
            at_step = self._waiting.setdefault(record.step, {})
            if (before := at_step.get(key)) is not None:  # the run went back, and on again
                self._bytes -= before.size
            at_step[key] = record
            self._bytes += record.size
            self._first_seen.setdefault(record.step, self._clock())

    def pop_due(self, alive: Collection[Key]) -> Iterator[tuple[int, dict[Key, Record], bool]]:
        """Yield the steps that are to be merged now, and whether each is for the first time.

        Args:
            alive: the processes that may still record.
        """
        for step in sorted(self._waiting):
            if self._bytes > MOST_WAITING_BYTES or self._is_due(step, alive):
                yield step, *self._pop(step)

    def _is_due(self, step: int, alive: Collection[Key]) -> bool:
        if step in self._incomplete:
            return True
        late = self._clock() - self._first_seen[step] > SILENT_SECONDS
        missing = [key for key in self._expected if key not in self._waiting[step]]
        return not any(self._may_come(key, step, late or key not in alive) for key in missing)

    def _may_come(self, key: Key, step: int, has_ended: bool) -> bool:
        history = self._histories.get(key)
        if history is None:
            return not has_ended
        if history.last_step is not None and history.last_step > step:
            return False  # it has left this one out
        return not (history.is_at_end and has_ended)

    def _pop(self, step: int) -> tuple[dict[Key, Record], bool]:
        found = self._waiting.pop(step)
        del self._first_seen[step]
        self._bytes -= sum(each.size for each in found.values())
        before = self._incomplete.pop(step, None)
        places = {key: each.place for key, each in found.items()}
        records = {key: each.record for key, each in found.items()}
        for key, place in zip(self._expected, before or (), strict=False):
            if key in records or place == _NOWHERE:
                continue
            if (record := self._histories[key].record(place)) is not None:
                records[key], places[key] = record, place
        if len(records) < len(self._expected):
            each = (places.get(key, _NOWHERE) for key in self._expected)
            self._incomplete[step] = array("q", each)
        return records, before is None
