"""The curves of two runs over their trainings, on one axis: loss, entropy and largest logit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnmon_renderer.compare.series.run_series import LayerName, RunSeries
from attnmon_renderer.compare.series.series_alignment import Align, smoothed_losses

MOST_POINTS = 200
MOST_LAYERS = 64

Point = tuple[float, float]
_AVERAGES: dict[str, Callable[[Any], Any]] = {"entropy": np.mean, "max_logit": np.max}
"""What makes one number a layer of those of its heads."""


@dataclass(frozen=True, slots=True)
class CurvePair:
    """One quantity in both runs."""

    quantity: str
    """ "loss", or a statistic."""
    layer: LayerName | None
    a: list[Point]
    b: list[Point]

    def to_json(self) -> dict[str, Any]:
        place = {} if self.layer is None else {"role": self.layer.role, "layer": self.layer.layer}
        return {"quantity": self.quantity, **place, "a": self.a, "b": self.b}


def curves_of(
    a: RunSeries, b: RunSeries, align: Align, layers: Sequence[LayerName]
) -> list[CurvePair]:
    """Return the curves of the loss and of each layer, over steps, the loss, or from the end."""
    axes = [_axis(run, align) for run in (a, b)]
    shown = [_evenly_spaced(len(run.captures)) for run in (a, b)]
    losses = [
        _points(axis, [capture.loss for capture in run.captures], range(len(run.captures)))
        for run, axis in zip((a, b), axes, strict=True)
    ]
    pairs = [CurvePair("loss", None, *(_thinned(each) for each in losses))]
    for statistic, average in _AVERAGES.items():
        for layer in layers[:MOST_LAYERS]:
            found = [
                _points(axis, _of_layer(run, which, layer, statistic, average), which)
                for run, axis, which in zip((a, b), axes, shown, strict=True)
            ]
            pairs.append(CurvePair(statistic, layer, *found))
    return [pair for pair in pairs if pair.a or pair.b]


def _axis(run: RunSeries, align: Align) -> list[float | None]:
    """Return where each capture stands; None for one that has no place."""
    if align == "loss":
        reached = np.inf
        places: list[float | None] = []
        for loss in smoothed_losses(run.captures):
            reached = min(reached, np.inf if loss is None else loss)
            places.append(float(reached) if np.isfinite(reached) else None)
        return places
    last = run.captures[-1].step if align == "end" and run.captures else 0
    return [capture.step - last for capture in run.captures]


def _of_layer(
    run: RunSeries,
    which: Sequence[int],
    layer: LayerName,
    statistic: str,
    average: Callable[[Any], Any],
) -> list[float | None]:
    found: list[float | None] = []
    for index in which:
        values = run.heads(index, layer, statistic)
        known = values[np.isfinite(values)]
        found.append(float(average(known)) if len(known) else None)
    return found


def _points(
    axis: Sequence[float | None], values: Sequence[float | None], which: Sequence[int]
) -> list[Point]:
    pairs = ((axis[index], value) for index, value in zip(which, values, strict=True))
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _evenly_spaced(count: int) -> list[int]:
    if count <= MOST_POINTS:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, MOST_POINTS)})


def _thinned(points: list[Point]) -> list[Point]:
    return [points[index] for index in _evenly_spaced(len(points))]
