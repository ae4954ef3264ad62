"""What a comparison has found, and how it is written as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles
from attnmon_renderer.compare import verdicts
from attnmon_renderer.compare.comparability import Comparability
from attnmon_renderer.compare.map_comparison import MapComparison
from attnmon_renderer.compare.measures.permutation_test import GroupTest
from attnmon_renderer.compare.series.curves_over_training import CurvePair
from attnmon_renderer.compare.series.run_series import Block, RunSeries
from attnmon_renderer.compare.series.series_alignment import Align
from attnmon_renderer.storage.copies import shown_place


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run that is compared, and the capture of it that is."""

    name: str
    """The end of its path: many runs' own folders have one name."""
    folder: str
    state: str
    captures: int
    step: int | None = None
    loss: float | None = None

    @classmethod
    def of(cls, run: RunSeries, index: int | None = None) -> "RunInfo":
        at = None if index is None else run.captures[index]
        place = shown_place(run.folder)
        step, loss = (None, None) if at is None else (at.step, at.loss)
        return cls(
            "/".join(place.split("/")[-2:]),
            place,
            run.run.state,
            len(run.captures),
            step,
            loss,
        )

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class NumberRow:
    """One number in both; NaN where it is not known."""

    role: str
    layer: int
    head: int | None
    """None for a number of the layer as a whole."""
    statistic: str
    a: float
    b: float
    wobble: float
    """How much it moves by itself."""
    times: float
    """How many wobbles the difference is."""

    @property
    def delta(self) -> float:
        """B − A."""
        return self.b - self.a

    def to_json(self) -> dict[str, Any]:
        numbers = ("a", "b", "delta", "wobble", "times")
        return {
            "role": self.role,
            "layer": self.layer,
            "head": self.head,
            "statistic": self.statistic,
            **{name: known(getattr(self, name)) for name in numbers},
        }


@dataclass(slots=True)
class Comparison:
    """All that was found of two runs, or of two groups of runs."""

    align: Align
    at: float | None
    """Where they are compared: a step, a loss, or steps before the end."""
    a: list[RunInfo]
    b: list[RunInfo]
    settings: dict[str, list[Any]] = field(default_factory=dict)
    comparability: Comparability = field(default_factory=Comparability)
    verdict: str = verdicts.NOT_COMPARABLE
    reason: str = ""
    """What the verdict rests on, in words."""
    score: float | None = None
    """Of two runs: their difference, in units of their own wobble; None where it is not known.
    Of groups: the share of the variance between runs that the grouping explains."""
    rows: list[NumberRow] = field(default_factory=list)
    """Those that differ most first."""
    curves: list[CurvePair] = field(default_factory=list)
    matching: MapComparison | None = None
    test: GroupTest | None = None
    """Of groups."""
    damages: list[str] = field(default_factory=list)
    """A line for each thing of the runs' files that was left out."""

    @property
    def is_of_groups(self) -> bool:
        return self.test is not None or max(len(self.a), len(self.b)) > 1

    def exceeds(self, most: float) -> bool:
        """Return whether the difference is larger; one that is not known counts as larger."""
        return self.score is None or self.score > most

    def to_json(self) -> dict[str, Any]:
        about, test = self.comparability, self.test
        return {
            "comparable": about.comparable,
            "why": about.why,
            "parts": about.parts,
            "text": about.text,
            "settings": self.settings,
            "verdict": self.verdict,
            "reason": self.reason,
            "meaning": verdicts.MEANINGS[self.verdict],
            "score": self.score,
            "align": self.align,
            "at": self.at,
            "a": [run.to_json() for run in self.a],
            "b": [run.to_json() for run in self.b],
            "test": None if test is None else test.to_json(),
            "layers": [row.to_json() for row in self.rows],
            "matching": None if self.matching is None else self.matching.to_json(),
            "curves": [pair.to_json() for pair in self.curves],
            "damages": self.damages,
        }


def known(value: float) -> float | None:
    """Return a number, and None for NaN and infinity, as JSON has it."""
    return float(value) if np.isfinite(value) else None


def in_times(times: float) -> str:
    """ "0.52 ×", "1.04 ×", "14 ×", "> 1000 ×" """
    if times != times:
        return "–"
    words = f"{times:.2f}" if times < 10 else f"{times:.0f}"
    return f"{words} ×" if times < 1000 else "> 1000 ×"


def sorted_rows(
    blocks: Sequence[Block], a: Doubles, b: Doubles, wobble: Doubles, times: Doubles
) -> list[NumberRow]:
    """Return a row for each number, first those whose difference is the most wobbles.

    Where no wobble is known, those that differ by the largest part of themselves.
    """
    names = [(*block.layer, head, block.statistic) for block in blocks for head in block.heads]
    numbers = np.stack([a, b, wobble, times], 1).tolist()
    rows = [NumberRow(*name, *values) for name, values in zip(names, numbers, strict=True)]
    return sorted(rows, key=_size, reverse=True)


def _size(row: NumberRow) -> tuple[float, float]:
    parts = abs(row.delta) / max(abs(row.a), abs(row.b), np.finfo(float).tiny)
    return tuple(-1.0 if np.isnan(each) else float(each) for each in (row.times, parts))  # type: ignore[return-value]
