"""Compares two groups of runs, such as four seeds of each of two settings.

Numbers of heads mean nothing between seeds. So a run is described by each layer's heads in the
order of their values, which is the same however they are numbered.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles
from attnmon_renderer.compare import verdicts
from attnmon_renderer.compare.comparability import CaptureInfo, judge, probe_of
from attnmon_renderer.compare.findings import Comparison, NumberRow, RunInfo, sorted_rows
from attnmon_renderer.compare.measures.permutation_test import GroupTest, permutation_test
from attnmon_renderer.compare.series.run_maps import RunMaps, tokens_of
from attnmon_renderer.compare.series.run_series import Block, RunSeries
from attnmon_renderer.compare.series.series_alignment import Align, NotAligned, find_point
from attnmon_renderer.compare.settings_difference import differing_groups, settings_of

_Runs = TypeVar("_Runs", list[RunInfo], Doubles)


def compare_groups(
    a: Sequence[Path], b: Sequence[Path], align: Align = "step", at: float | None = None
) -> Comparison:
    """Compare two groups of runs at one point of their trainings; arguments as `compare_runs`.

    Raises:
        NoRun: A directory holds no run.
        ValueError: A group is empty, or a directory is given twice.
    """
    folders = [*a, *b]
    if not a or not b:
        raise ValueError("a group is empty: give at least one run in each, better four")
    if twice := [str(each) for each in folders if folders.count(each) > 1]:
        raise ValueError(f"{twice[0]} is given twice: each run counts once")
    with ExitStack() as opened:
        runs = [opened.enter_context(RunSeries(folder)) for folder in folders]
        found = Comparison(align, at, *_in_groups([RunInfo.of(run) for run in runs], len(a)))
        settings = [settings_of(run.run, run.description) for run in runs]
        found.settings = differing_groups(settings[: len(a)], settings[len(a) :])
        try:
            point = find_point([run.captures for run in runs], align, at)
            found.at = point.at
            _Groups(runs, point.indices, len(a)).compare(found)
        except NotAligned as error:
            found.comparability.hinder(str(error))
            found.reason = str(error)
        found.damages = [damage for run in runs for damage in run.damages]
    return found


class _Groups:
    """One capture of each of many open runs, of which the first few are group A."""

    def __init__(self, runs: Sequence[RunSeries], indices: Sequence[int], first: int) -> None:
        self._each = list(zip(runs, indices, strict=True))
        self._first = first
        self._names = [
            f"A{number + 1}" if number < first else f"B{number - first + 1}"
            for number in range(len(runs))
        ]

    def compare(self, found: Comparison) -> None:
        """Fill in what is found."""
        infos = [RunInfo.of(run, index) for run, index in self._each]
        found.a, found.b = _in_groups(infos, self._first)
        about = found.comparability = judge([self._info(number) for number in range(len(infos))])
        blocks = self._blocks(about.layers)
        if not blocks:
            found.reason = about.obstacles[0]
            return
        profiles = np.array([self._profile(number, blocks) for number in range(len(infos))])
        means = np.array([self._means(number, blocks) for number in range(len(infos))])
        found.rows = _rows(blocks, *_in_groups(means, self._first))
        found.test = permutation_test(*_in_groups(profiles, self._first))
        found.score = found.test.effect
        _decide(found, found.test, self._repeated(profiles))

    def _info(self, number: int) -> CaptureInfo:
        run, index = self._each[number]
        step = run.captures[index].step
        with RunMaps(run.folder, run.damages) as maps:
            tokens = tokens_of(maps.at(step))
        return CaptureInfo(
            self._names[number],
            run.layers(index),
            run.metadata(index),
            probe_of(run.description, step),
            tokens,
        )

    def _blocks(self, layers: Sequence[object]) -> list[Block]:
        """Return the numbers that all captures have."""
        every = [run.numbers(index) for run, index in self._each]
        shared = (block for block in every[0] if all(block in each for each in every))
        return [block for block in shared if block.layer in layers]

    def _profile(self, number: int, blocks: Sequence[Block]) -> Doubles:
        run, index = self._each[number]
        return np.concatenate([np.sort(run.numbers(index)[block]) for block in blocks])

    def _means(self, number: int, blocks: Sequence[Block]) -> Doubles:
        run, index = self._each[number]
        return np.array([_mean(run.numbers(index)[block]) for block in blocks])

    def _repeated(self, profiles: Doubles) -> list[str]:
        """Return the names of runs that are the same as one before them in their group."""
        found = []
        for number, name in enumerate(self._names):
            start = 0 if number < self._first else self._first
            if any(_same(profiles[number], each) for each in profiles[start:number]):
                found.append(name)
        return found


def _in_groups(runs: _Runs, first: int) -> tuple[_Runs, _Runs]:
    return runs[:first], runs[first:]


def _same(a: Doubles, b: Doubles) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def _mean(values: Doubles) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _rows(blocks: Sequence[Block], a: Doubles, b: Doubles) -> list[NumberRow]:
    """Return a row for each statistic of each layer: the mean of its heads, in each group."""
    named = [block._replace(heads=(None,)) for block in blocks]
    spread = np.sqrt((_squares(a) + _squares(b)) / max(len(a) + len(b) - 2, 1))
    if len(a) + len(b) <= 2:
        spread[:] = np.nan
    difference = np.abs(b.mean(0) - a.mean(0))
    least = 1e-9 * np.maximum(np.abs(a).max(0), np.abs(b).max(0)) + np.finfo(float).tiny
    times = difference / np.maximum(spread, least)
    return sorted_rows(named, a.mean(0), b.mean(0), spread, times)


def _squares(runs: Doubles) -> Doubles:
    return np.asarray(((runs - runs.mean(0)) ** 2).sum(0))


def _decide(found: Comparison, test: GroupTest, repeated: Sequence[str]) -> None:
    about, counts = found.comparability, f"{len(found.a)} against {len(found.b)} runs"
    numbers = f"p = {test.p:.2g} (the smallest that {counts} can give is {test.smallest_p:.2g})"
    if about.comparable and test.is_equal:
        found.verdict, found.reason = verdicts.IDENTICAL, "all runs have the same numbers"
        return
    if repeated:
        about.hinder(
            f"the same run, or seed, stands in its group more than once ({', '.join(repeated)}): "
            "that is no further evidence"
        )
    if not test.can_differ:
        about.hinder(f"{counts} are too few: {numbers}; 4 against 4 give 0.029")
    if not about.comparable:
        found.reason = about.obstacles[0]
        return
    found.verdict = verdicts.GROUPS_DIFFER if test.differs else verdicts.WITHIN
    found.reason = (
        f"{numbers}; the grouping explains {test.effect:.0%} of the variance between runs, where "
        f"chance explains {test.expected:.0%}"
    )
