"""What a picture shows, as inert data: numbers, names and captions, no pixels and no file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
MaskArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Axis:
    """What the cells along one side of a map stand for."""

    length: int
    """True number of positions, before pooling."""
    positions_per_cell: int = 1
    """Positions in one cell; the last cell may hold fewer."""
    tokens: tuple[str, ...] = ()
    """One name a position, where known."""
    name: str = ""
    """What the positions are, when they are neither queries nor keys."""
    cells_are_sums: bool = False
    """Of keys: a cell shows the weight of all its positions together."""

    def __post_init__(self) -> None:
        if self.length < 1 or self.positions_per_cell < 1:
            raise ValueError(
                f"an axis of {self.length} positions, {self.positions_per_cell} a cell: "
                "give at least 1 of each"
            )

    @property
    def cells(self) -> int:
        return -(-self.length // self.positions_per_cell)


@dataclass(frozen=True, slots=True)
class Caption:
    """The words above a picture. Too long ones are shortened when drawn; markup is literal."""

    title: str
    run: str = ""
    """Where the training stood: "step 1,200 · epoch 3 · loss 0.123"."""
    note: str = ""
    """What to know before believing the picture: "averaged over 8 heads", "approximate: …"."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One map of a picture that holds several."""

    label: str
    values: Values
    """[queries, keys], pooled where the axes say so"""
    masked: MaskArray
    """[queries, keys]: True where no query of the cell may attend to any of its keys."""
    queries: Axis
    keys: Axis

    def __post_init__(self) -> None:
        expected = (self.queries.cells, self.keys.cells)
        if self.values.shape != expected or self.masked.shape != expected:
            raise ValueError(
                f"values {self.values.shape} and masked {self.masked.shape} must both be "
                f"{expected}, as the axes say"
            )


@dataclass(frozen=True, slots=True)
class HeatmapData:
    """One attention map, large. `values` and `masked` as in `Panel`."""

    caption: Caption
    values: Values
    masked: MaskArray
    queries: Axis
    keys: Axis
    top: float | None = None
    """Where the colour scale ends; None is a round number above the largest weight that tells."""


@dataclass(frozen=True, slots=True)
class HeadGridData:
    """All heads of a layer side by side, on one colour scale."""

    caption: Caption
    values: Values
    """[heads, queries, keys]"""
    masked: MaskArray
    """[queries, keys]"""
    labels: tuple[str, ...]
    """One a head: "head 3 · H 0.41"."""
    queries: Axis
    keys: Axis
    top: float | None = None

    def __post_init__(self) -> None:
        if len(self.values) != len(self.labels) or not self.labels:
            raise ValueError(
                f"{len(self.values)} maps and {len(self.labels)} labels: give one label a head, "
                "and at least one head"
            )


@dataclass(frozen=True, slots=True)
class LayerComparisonData:
    """One panel a layer, on one colour scale. Layers may differ in shape."""

    caption: Caption
    panels: tuple[Panel, ...]
    top: float | None = None

    def __post_init__(self) -> None:
        if not self.panels:
            raise ValueError("a comparison without panels: give at least one")
