"""Compares the maps of two runs at one point, and with how much a run's own maps move."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from attnmon_renderer.compare.map_matching import MatchedLayer, match_layers, mean, movement
from attnmon_renderer.compare.measures.wobble import LEAST_PAIRS, bound, times_of
from attnmon_renderer.compare.series.run_maps import RunMaps, tokens_of
from attnmon_renderer.compare.series.run_series import LayerName
from attnmon_renderer.maps.maps_file import MapsFile

NEIGHBOURS = 10
"""Pairs of a run's own neighbouring maps that are compared."""


@dataclass(frozen=True, slots=True)
class MapPair:
    """The maps of one capture of each run."""

    steps: tuple[int, int]
    a: MapsFile
    b: MapsFile

    @property
    def tokens(self) -> tuple[Any, Any]:
        """Of the texts that they show; None where they are not known."""
        return tokens_of(self.a), tokens_of(self.b)


@dataclass(frozen=True, slots=True)
class MapComparison:
    """The maps of two captures, compared."""

    steps: tuple[int, int]
    paths: tuple[Path, Path]
    layers: list[MatchedLayer]
    wobble: float | None
    """Bits: how far neighbouring maps of a run are apart, of the run that moves less. None where
    too few show the same text."""

    @property
    def numbered(self) -> float | None:
        """Mean distance of the heads of the same number, in bits."""
        return mean(np.concatenate([layer.numbered for layer in self.layers]))

    @property
    def matched(self) -> float | None:
        """Mean distance of the heads that resemble each other most."""
        return mean(np.concatenate([layer.matched for layer in self.layers]))

    @property
    def heads(self) -> int:
        return sum(len(layer.heads) for layer in self.layers)

    @property
    def moved(self) -> int:
        """The number of heads that resemble one of another number most."""
        return sum(layer.moved for layer in self.layers)

    @property
    def is_bound(self) -> bool:
        return any(layer.is_bound for layer in self.layers)

    @property
    def times(self) -> float | None:
        """How many wobbles the heads of the same number are apart."""
        if self.wobble is None or self.numbered is None:
            return None
        return times_of(self.numbered, self.wobble)

    def to_json(self) -> dict[str, Any]:
        return {
            "steps": list(self.steps),
            "unit": "bits",
            "at_least": self.is_bound,
            "numbered": self.numbered,
            "matched": self.matched,
            "wobble": self.wobble,
            "heads": self.heads,
            "moved": self.moved,
            "layers": [layer.to_json() for layer in self.layers],
        }


def find_maps(
    runs: Sequence[RunMaps], steps: tuple[int, int], earlier: Sequence[int]
) -> MapPair | None:
    """Return the maps of these steps, or of the latest of some common ones; None without any."""
    for first, second in [steps, *((step, step) for step in sorted(earlier, reverse=True))]:
        a, b = runs[0].at(first), runs[1].at(second)
        if a is not None and b is not None:
            return MapPair((first, second), a, b)
    return None


def compare_maps(
    runs: Sequence[RunMaps], pair: MapPair, layers: Sequence[LayerName], why: list[str]
) -> MapComparison | None:
    """Match the heads of these layers, on maps that show the same text; None if none has maps.

    Raises BadMaps.
    """
    matched = match_layers(pair.a, pair.b, layers, why)
    if not matched:
        return None
    names = [layer.name for layer in matched]
    moves = [list(_moves(run, step, names)) for run, step in zip(runs, pair.steps, strict=True)]
    known = min(map(len, moves)) >= LEAST_PAIRS
    wobble = min(float(bound(np.array(each))) for each in moves) if known else None
    return MapComparison(pair.steps, (pair.a.path, pair.b.path), matched, wobble)


def _moves(run: RunMaps, step: int, names: Sequence[LayerName]) -> Iterator[float]:
    """Yield how far neighbouring maps are apart that show the same text, up to a step."""
    for before, after in pairwise(run.last_until(step, NEIGHBOURS + 1)):
        if tokens_of(before) == tokens_of(after):
            far = movement(before, after, names)
            if far is not None:
                yield far
