"""What a timeline keeps of a run: so much for each of a bounded number of steps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from attnmon.link.records.alert import Alert
from attnmon_renderer.results import Results
from attnmon_renderer.storage.history_reader import HistoryFile
from attnmon_renderer.storage.records import recorded_layers

if TYPE_CHECKING:  # it loads matplotlib
    from attnmon_renderer.drawing import AlertSpan, TimelineData

MOST_ENTRIES = 1500
"""Twice as many as a timeline is pixels wide."""


class Entropies(NamedTuple):
    """The entropies of a layer's heads; NaN where none is known."""

    low: float
    high: float
    mean: float


_UNKNOWN = Entropies(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What a timeline needs of one capture, or of several that follow each other."""

    step: int
    """Of the first of them."""
    loss: float = math.nan
    """Their mean; NaN if none is known."""
    entropies: dict[str, Entropies] = field(default_factory=dict)
    """By the layer's name."""
    captures: int = 1

    def joined(self, later: "TimelineEntry") -> "TimelineEntry":
        """Return one entry for both, with the extremes of both."""
        counts = self.captures, later.captures
        entropies = {}
        for name in self.entropies | later.entropies:
            first, second = self.entropies.get(name, _UNKNOWN), later.entropies.get(name, _UNKNOWN)
            entropies[name] = Entropies(
                float(np.fmin(first.low, second.low)),
                float(np.fmax(first.high, second.high)),
                _mean((first.mean, second.mean), counts),
            )
        loss = _mean((self.loss, later.loss), counts)
        return TimelineEntry(self.step, loss, entropies, sum(counts))


class TimelineEntries:
    """The latest entry of each step; of very many steps, neighbours are joined.

    So a timeline takes no more memory or time in a longer run.
    """

    def __init__(self) -> None:
        self._latest: dict[int, TimelineEntry] = {}

    def __bool__(self) -> bool:
        return bool(self._latest)

    @classmethod
    def of_history(cls, path: Path, damages: list[str]) -> "TimelineEntries":
        """Return the entries of a history, of a long one of captures that are evenly spaced."""
        entries = cls()
        with HistoryFile(path, damages) as history:
            for capture in history.captures(MOST_ENTRIES):
                entries.add(_entry_of_line(capture))
        return entries

    def add_results(self, results: Results) -> None:
        """Add a capture, in place of an earlier one of its step."""
        heads = {
            _layer_name(row.stack, row.layer, row.type): row.statistics.heads["entropy"]
            for row in sorted(results.layers, key=lambda row: row.stack == "decoder")
        }
        self.add(_entry(results.step, results.loss, heads))

    def add(self, entry: TimelineEntry) -> None:
        """Add an entry, in place of an earlier one of its step."""
        self._latest[entry.step] = entry
        if len(self._latest) > MOST_ENTRIES:
            *earlier, last = self._ordered()
            pairs = zip(earlier[::2], earlier[1::2], strict=False)
            joined = [first.joined(second) for first, second in pairs]
            left = earlier[len(joined) * 2 :]
            self._latest = {entry.step: entry for entry in (*joined, *left, last)}

    def data(self, alerts: Sequence[Sequence[Alert]] = ()) -> "TimelineData":
        """Return the data of the timeline of what was added, which is something.

        Args:
            alerts: The changes of state of each, as `read_episodes` gives them.
        """
        from attnmon_renderer.drawing import Caption, TimelineData
        from attnmon_renderer.figures.captions import ENTROPY

        entries = self._ordered()
        names = list(dict.fromkeys(name for entry in entries for name in entry.entropies))
        run = f"steps {entries[0].step:,} to {entries[-1].step:,}"
        return TimelineData(
            caption=Caption("attention entropy over the training", run),
            statistic=ENTROPY,
            steps=[entry.step for entry in entries],
            layers=tuple((name, _range(name, entries)) for name in names),
            losses=[entry.loss for entry in entries],
            low=0.0,
            high=1.0,
            alerts=[span for each in alerts for span in _spans(each, names, entries[-1].step)],
        )

    def _ordered(self) -> list[TimelineEntry]:
        return [self._latest[step] for step in sorted(self._latest)]


def _range(name: str, entries: Sequence[TimelineEntry]) -> Any:
    """Return a layer's entropies in all entries, as a `HeadRange`."""
    from attnmon_renderer.drawing import HeadRange

    found = np.array([entry.entropies.get(name, _UNKNOWN) for entry in entries])
    return HeadRange(*found.T)


def _spans(episode: Sequence[Alert], names: Sequence[str], end: int) -> Iterator["AlertSpan"]:
    """Yield the stretches of an alert, one for each severity that it came to."""
    from attnmon_renderer.drawing import AlertSpan

    rows = frozenset(name for name in (*names, "loss") if _is_about(episode[0], name))
    for alert, change in zip_longest(episode, episode[1:]):
        last = end if change is None else change.step
        if alert.is_open and alert.step <= end:
            yield AlertSpan(alert.rule, alert.severity, alert.step, max(alert.step, last), rows)


def _is_about(alert: Alert, name: str) -> bool:
    stack, _, kind = alert.role.partition("_")
    if not stack:
        return name == "loss"
    its_stack, number, its_kind = (*name.split(" "), "", "")[:3]
    is_of_layer = alert.layer is None or number == str(alert.layer)
    return (its_stack, its_kind) == (stack, kind) and is_of_layer


def _entry_of_line(line: dict[str, Any]) -> TimelineEntry:
    heads = {
        _layer_name(stack, row["layer"], row["type"]): (row.get("heads") or {}).get("entropy", [])
        for stack, row in recorded_layers(line)
    }
    return _entry(line["metadata"]["step"], line["metadata"].get("loss"), heads)


def _entry(
    step: int, loss: float | None, heads: Mapping[str, Sequence[float | None]]
) -> TimelineEntry:
    entropies = {name: _entropies(values) for name, values in heads.items()}
    return TimelineEntry(step, math.nan if loss is None else loss, entropies)


def _entropies(values: Sequence[float | None]) -> Entropies:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return Entropies(min(known), max(known), math.fsum(known) / len(known)) if known else _UNKNOWN


def _mean(values: tuple[float, float], counts: tuple[int, int]) -> float:
    """Return the mean of two values that stand for so many captures each, as far as known."""
    known = [(value, count) for value, count in zip(values, counts, strict=True) if value == value]
    total = sum(count for _, count in known)
    return sum(value * count for value, count in known) / total if known else math.nan


def _layer_name(stack: str, layer: int, type_: str) -> str:
    """ "decoder 0 cross" """
    return f"{stack} {layer} {type_.partition('_')[0]}"
