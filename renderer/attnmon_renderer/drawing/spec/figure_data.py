"""The data of each kind of figure: numbers, names and captions; no pixels and no files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnmon.link.records.alert import Severity
from attnmon_renderer.drawing.spec.panel import (
    Axis,
    Caption,
    MaskArray,
    Panel,
    Pixels,
    Values,
)


@dataclass(frozen=True, slots=True)
class HeatmapData:
    """The data of a heat map, an alignment or a surface: one attention map."""

    caption: Caption
    values: Values
    """[query cells, key cells] attention weights"""
    masked: MaskArray
    """[query cells, key cells] True where no query of the cell may attend to any of its keys."""
    queries: Axis
    keys: Axis
    top: float | None = None
    """The weight at which the colour scale ends; None chooses a round number above the largest
    weight that counts."""


@dataclass(frozen=True, slots=True)
class HeadGridData:
    """The data of a head grid: the maps of a layer's heads, on one colour scale.

    Raises ValueError if the numbers of labels and of heads differ or are 0.
    """

    caption: Caption
    values: Values
    """[heads, query cells, key cells] attention weights"""
    masked: MaskArray
    """[query cells, key cells] True where no query of the cell may attend to any of its keys."""
    labels: tuple[str, ...]
    """One label for each head: "head 3 · entropy 0.41"."""
    queries: Axis
    keys: Axis
    top: float | None = None
    """The weight at which the colour scale ends; None as in `HeatmapData`."""

    def __post_init__(self) -> None:
        if len(self.values) != len(self.labels) or not self.labels:
            raise ValueError(
                f"{len(self.values)} maps and {len(self.labels)} labels: give one label a head, "
                "and at least one head"
            )


@dataclass(frozen=True, slots=True)
class LayerComparisonData:
    """The data of a layer comparison: a map of each layer, on one colour scale.

    Layers may differ in shape. Raises ValueError if there are none.
    """

    caption: Caption
    panels: tuple[Panel, ...]
    top: float | None = None
    """The weight at which the colour scale ends; None as in `HeatmapData`."""

    def __post_init__(self) -> None:
        if not self.panels:
            raise ValueError("a comparison without panels: give at least one")


@dataclass(frozen=True, slots=True)
class DifferenceData:
    """The data of a difference: maps of one layer at two steps.

    Raises ValueError if the maps differ in shape.
    """

    caption: Caption
    before: Values
    """[query cells, key cells] attention weights at the earlier step"""
    after: Values
    """[query cells, key cells] attention weights at the later step"""
    masked: MaskArray
    """[query cells, key cells] True where no query of the cell may attend to any of its keys."""
    queries: Axis
    keys: Axis
    top: float | None = None
    """The change of weight at which the colour scale ends; None chooses a round number above the
    largest change."""

    def __post_init__(self) -> None:
        if self.before.shape != self.after.shape:
            raise ValueError(
                f"maps of {self.before.shape} and {self.after.shape} cells: "
                "a difference takes two of the same shape"
            )


@dataclass(frozen=True, slots=True)
class HeadMatrixData:
    """The data of a head matrix: one number for each head of each layer, at one step.

    Layers may have different numbers of heads. Raises ValueError if there is no number.
    """

    caption: Caption
    statistic: str
    """Name of the statistic at the colour bar: "entropy (of its maximum)"."""
    layers: tuple[tuple[str, Sequence[float]], ...]
    """(name, one number for each head) of each layer, in the order of the layers"""
    low: float | None = None
    """The number at which the colour scale begins; None chooses the smallest number."""
    high: float | None = None
    """The number at which the colour scale ends; None chooses the largest number."""

    def __post_init__(self) -> None:
        if not any(len(numbers) for _, numbers in self.layers):
            raise ValueError("a matrix without a number: give at least one layer with one head")


@dataclass(frozen=True, slots=True)
class RolloutData:
    """The data of a rollout: self-attention of all layers of a stack, averaged over heads.

    Raises ValueError unless all maps are square, of these positions and not pooled.
    """

    caption: Caption
    layers: tuple[Values, ...]
    """[positions, positions] attention weights of each layer, from the first layer to the last"""
    positions: Axis
    top: float | None = None
    """The flow at which the colour scale ends; None chooses a round number above the largest."""

    def __post_init__(self) -> None:
        side = self.positions.length
        shapes = {layer.shape for layer in self.layers}
        if self.positions.positions_per_cell != 1 or shapes != {(side, side)}:
            raise ValueError(
                f"layers of {sorted(shapes)} over {side} positions, "
                f"{self.positions.positions_per_cell} a cell: "
                "rollout takes square maps of the same positions, and pooled ones do not multiply"
            )


@dataclass(frozen=True, slots=True)
class ImageOverlayData:
    """The data of an overlay: what the patches of an image get of attention, and the image.

    Raises ValueError if the image has no colours.
    """

    caption: Caption
    values: Values
    """[rows, columns] attention weight of each patch"""
    pixels: Pixels
    """[rows, columns, 3] The image, which the patches cover from edge to edge."""
    top: float | None = None
    """The weight at which the colour scale ends; None as in `HeatmapData`."""

    measure: str = "attention weight"
    """What the values are, at the colour bar."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or not self.pixels.size:
            raise ValueError(f"an image of {self.pixels.shape}: give [rows, columns, 3]")


@dataclass(frozen=True, slots=True)
class HeadRange:
    """The numbers of a layer's heads over the captures: what a timeline shows of them.

    Each is [captures], and NaN where no head has a number.
    """

    low: NDArray[np.float64]
    """The lowest."""
    high: NDArray[np.float64]
    """The highest."""
    mean: NDArray[np.float64]

    @classmethod
    def of_heads(cls, numbers: NDArray[np.float64]) -> "HeadRange":
        """Return the range of [captures, heads] numbers."""
        known = np.isfinite(numbers)
        with np.errstate(invalid="ignore"):
            mean = np.where(known, numbers, 0).sum(axis=1) / known.sum(axis=1)
        return cls(np.fmin.reduce(numbers, axis=1), np.fmax.reduce(numbers, axis=1), mean)

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, slots=True)
class AlertSpan:
    """The steps through which an alert was of one severity."""

    rule: str
    severity: Severity
    first: int
    """The step at which it fired, or came to this severity."""
    last: int
    """The step at which it was over or got worse; that of the last capture where it lasts."""
    rows: frozenset[str] = frozenset()
    """Names of the layers that it is about, or "loss"."""


@dataclass(frozen=True, slots=True)
class TimelineData:
    """The data of a timeline: one statistic of all heads, and the loss, over the steps of a run.

    A number that is missing or not finite leaves a gap. Raises ValueError if there is no step or
    no layer, or if the numbers of values and of steps differ.
    """

    caption: Caption
    statistic: str
    """Name of the statistic: "entropy (of its maximum)"."""
    steps: Sequence[int]
    """Step of each capture, in rising order."""
    layers: tuple[tuple[str, HeadRange], ...]
    """(name, numbers) of each layer, from the first layer to the last"""
    losses: Sequence[float | None] = ()
    """Loss at each capture, or empty."""
    low: float | None = None
    """The number at which all rows begin; None chooses the smallest number."""
    high: float | None = None
    """The number at which all rows end; None chooses the largest number."""
    alerts: Sequence[AlertSpan] = ()

    def __post_init__(self) -> None:
        captures = len(self.steps)
        lengths = {len(numbers) for _, numbers in self.layers}
        if not captures or lengths != {captures} or len(self.losses) not in (0, captures):
            raise ValueError(
                f"{captures} steps, layers of {sorted(lengths)} captures, {len(self.losses)} "
                "losses: give one number a step to each, at least one step, and at least one layer"
            )
