"""What the runs of a live benchmark say of each design."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchlib.live_impact import Stretch, lost_beside

DRAWS = 2000
Row = dict[str, Any]


def rows_of(runs: Sequence[dict[str, Any]]) -> list[Row]:
    """Return a row for each regime and design, in the order of the runs."""
    keys = dict.fromkeys((run["regime"], run["design"]) for run in runs)
    return [_row(regime, design, runs) for regime, design in keys]


def _row(regime: str, design: str, runs: Sequence[dict[str, Any]]) -> Row:
    own, alone = (
        [run for run in runs if (run["regime"], run["design"]) == (regime, name)]
        for name in (design, "none")
    )
    stretches = [Stretch(*one) for run in own for one in run["stretches"] or ()]
    seconds = sum(run["seconds"] for run in own)
    start = stretches[0] if stretches else None
    if start is not None:
        lost, low, high = lost_beside(stretches[1:], seconds - start.seconds)
    else:
        lost, low, high = lost_to(_windows(own), _windows(alone))
    return {
        "regime": regime,
        "design": design,
        "seconds": seconds,
        "start_seconds": None if start is None else start.excess,
        "step_ms": float(np.mean(_windows(own))),
        "lost": lost,
        "low": low,
        "high": high,
        "first_picture": _worst(run["first_picture"] for run in own),
        "worst_age": _worst(run["worst_age"] for run in own),
        "captures": sum(run["captures"] for run in own),
        "drawn": sum(run["drawn"] for run in own),
    }


def lost_to(own: Sequence[float], alone: Sequence[float]) -> tuple[float, float, float]:
    """Return how much longer steps take than without a monitor, with an interval of 95 %.

    own, alone: mean milliseconds of a step in windows of equal length, which are resampled.
    """
    rng = np.random.default_rng(0)
    means = [rng.choice(windows, (DRAWS, len(windows))).mean(axis=1) for windows in (own, alone)]
    low, high = np.percentile(means[0] / means[1], [2.5, 97.5]) - 1
    return float(np.mean(own) / np.mean(alone)) - 1, float(low), float(high)


def _windows(runs: Sequence[dict[str, Any]]) -> list[float]:
    return [window for run in runs for window in run["windows_ms"]]


def _worst(values: Iterator[float | None]) -> float | None:
    """Return the largest; None if there is none in one of the runs."""
    given = list(values)
    found = [value for value in given if value is not None]
    return max(found) if len(found) == len(given) else None
