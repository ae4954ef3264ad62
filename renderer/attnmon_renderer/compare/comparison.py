"""Compares two runs, from their files alone."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from attnmon_renderer.compare import verdicts
from attnmon_renderer.compare.comparability import SAME, CaptureInfo, judge, probe_of
from attnmon_renderer.compare.findings import Comparison, RunInfo, in_times, sorted_rows
from attnmon_renderer.compare.map_comparison import compare_maps, find_maps
from attnmon_renderer.compare.map_matching import same_codes
from attnmon_renderer.compare.measures.wobble import NEIGHBOURS, measure
from attnmon_renderer.compare.series.curves_over_training import curves_of
from attnmon_renderer.compare.series.run_maps import RunMaps
from attnmon_renderer.compare.series.run_series import Block, RunSeries
from attnmon_renderer.compare.series.series_alignment import Align, NotAligned, find_point
from attnmon_renderer.compare.settings_difference import differing, settings_of
from attnmon_renderer.maps.maps_header import BadMaps


def compare_runs(a: Path, b: Path, align: Align = "step", at: float | None = None) -> Comparison:
    """Compare two runs at one point of their trainings.

    Args:
        a: The first run's directory.
        b: The second's; differences are B − A.
        align: What makes captures belong together: "step", "loss" (the first whose smoothed loss is
            at most a certain one) or "end" (so many steps before each run's last).
        at: The step, the loss or the steps before the end. By default the last step that both have,
            the lowest loss that both have reached, the end.

    Raises:
        NoRun: A directory holds no run.
    """
    with ExitStack() as opened:
        runs = [opened.enter_context(RunSeries(folder)) for folder in (a, b)]
        maps = [opened.enter_context(RunMaps(run.folder, run.damages)) for run in runs]
        found = Comparison(align, at, [RunInfo.of(runs[0])], [RunInfo.of(runs[1])])
        found.settings = differing(*(settings_of(run.run, run.description) for run in runs))
        try:
            point = find_point([run.captures for run in runs], align, at)
            found.at = point.at
            _PairOfCaptures(runs, maps, point.indices).compare(found)
        except (NotAligned, BadMaps) as error:
            found.comparability.hinder(str(error))
            found.reason = str(error)
        found.damages = [damage for run in runs for damage in run.damages]
    return found


class _PairOfCaptures:
    """One capture of each of two open runs."""

    def __init__(
        self, runs: Sequence[RunSeries], maps: Sequence[RunMaps], indices: Sequence[int]
    ) -> None:
        self._runs, self._maps, self._indices = runs, maps, indices
        self._each = list(zip(runs, indices, strict=True))
        self._steps = (runs[0].captures[indices[0]].step, runs[1].captures[indices[1]].step)
        self._common = _common_captures(runs)
        is_by_step = self._steps[0] == self._steps[1]
        self._earlier = [step for step in self._common if step < self._steps[0] and is_by_step]
        self._pair = find_maps(maps, self._steps, self._earlier)

    def compare(self, found: Comparison) -> None:
        """Fill in what is found."""
        found.a, found.b = ([RunInfo.of(run, index)] for run, index in self._each)
        is_identical = self._is_identical()
        about = found.comparability = judge(self._infos(), is_identical)
        found.curves = curves_of(self._runs[0], self._runs[1], found.align, about.layers)
        one_sided = self._compare_numbers(found)
        if about.text == SAME and self._pair is not None:
            found.matching = compare_maps(self._maps, self._pair, about.layers, about.why)
            if found.matching is not None and self._pair.steps != self._steps:
                about.why.append(
                    f"maps are those of step {self._pair.steps[0]}: later ones are gone"
                )
        _decide(found, is_identical, one_sided)
        self._tell_captures(found)

    def _compare_numbers(self, found: Comparison) -> int:
        """Compare the numbers; returns how many are defined in one capture only."""
        blocks = self._blocks(found)
        if not blocks:
            return 0
        a, b = (run.matrix([index], blocks)[0] for run, index in self._each)
        near = (run.matrix(_neighbours(len(run.captures), at), blocks) for run, at in self._each)
        wobble = measure(a, b, *near)
        found.score = wobble.score
        found.rows = sorted_rows(blocks, a, b, wobble.of_each, wobble.times)
        return int((np.isnan(a) != np.isnan(b)).sum())

    def _blocks(self, found: Comparison) -> list[Block]:
        """Return the numbers that both captures have."""
        first, second = (run.numbers(index) for run, index in self._each)
        return [b for b in first if b in second and b.layer in found.comparability.layers]

    def _infos(self) -> list[CaptureInfo]:
        tokens = (None, None) if self._pair is None else self._pair.tokens
        return [
            CaptureInfo(
                name, run.layers(at), run.metadata(at), probe_of(run.description, step), shown
            )
            for name, (run, at), step, shown in zip(
                "AB", self._each, self._steps, tokens, strict=True
            )
        ]

    def _is_identical(self) -> bool:
        """Return whether all captures of the same steps are the same, in every bit."""
        pairs = self._common.values()
        return (
            bool(self._common)
            and all(self._have_same_numbers(*pair) for pair in pairs)
            and self._steps[0] == self._steps[1]
            and (self._pair is None or same_codes(self._pair.a, self._pair.b))
        )

    def _have_same_numbers(self, a: int, b: int) -> bool:
        first, second = self._runs
        same_loss = first.captures[a].loss == second.captures[b].loss
        return same_loss and first.rows_as_written(a) == second.rows_as_written(b)

    def _tell_captures(self, found: Comparison) -> None:
        counts = [len(run.captures) for run in self._runs]
        if found.align == "step" and counts != 2 * [len(self._common)]:
            found.comparability.why.append(
                f"A has {counts[0]:,} captures and B {counts[1]:,}, of which {len(self._common):,} "
                "are of the same steps"
            )
        if found.align == "step" and self._steps[0] != self._steps[1]:
            found.comparability.why.append(
                f"no capture is of the same step: A's is of step {self._steps[0]:,}, B's of step "
                f"{self._steps[1]:,}"
            )


def _common_captures(runs: Sequence[RunSeries]) -> dict[int, tuple[int, int]]:
    """Return by step where it is in both runs."""
    first, second = ({c.step: i for i, c in enumerate(run.captures)} for run in runs)
    return {step: (index, second[step]) for step, index in first.items() if step in second}


def _neighbours(count: int, at: int) -> range:
    """Return the captures nearest to one, so many that they have `NEIGHBOURS` pairs."""
    begin = max(0, min(at - NEIGHBOURS // 2, count - 1 - NEIGHBOURS))
    return range(begin, min(count, begin + NEIGHBOURS + 1))


def _decide(found: Comparison, is_identical: bool, one_sided: int) -> None:
    about, maps = found.comparability, found.matching
    if maps is not None and maps.times is not None and found.score is not None:
        found.score = max(found.score, maps.times)
    if not about.comparable:
        found.reason, found.score = about.obstacles[0], None
    elif is_identical:
        found.verdict, found.score = verdicts.IDENTICAL, 0.0
        found.reason = "every number of every capture of the same step, and every code of the maps"
    elif found.score is None:
        found.verdict = verdicts.DIFFERS
        found.reason = "too few captures to know how much a run moves by itself"
    elif found.score <= 1 and not one_sided:
        found.verdict = verdicts.WITHIN
        found.reason = f"{in_times(found.score)} what neighbouring captures of a run differ by"
    else:
        found.verdict = verdicts.DIFFERS
        found.reason = (
            f"{in_times(found.score)} what neighbouring captures of a run differ by; with one run "
            "each, the seed alone may do this"
        )
    if one_sided:
        about.why.append(f"{one_sided} numbers are defined in one of them only")
