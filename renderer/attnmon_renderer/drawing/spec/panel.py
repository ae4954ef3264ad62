"""What all kinds of figures are made of: axes, a caption, and panels of attention weights."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
MaskArray = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
"""[rows, columns, 3] Red, green and blue."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a map: which positions its cells stand for."""

    length: int
    """Number of positions, before pooling."""
    positions_per_cell: int = 1
    """Positions pooled into each cell; the last cell may hold fewer."""
    tokens: tuple[str, ...] = ()
    """One token for each position; empty if they are not known."""
    name: str = ""
    """Title of the axis; empty means query or key positions."""
    earlier: int = 0
    """Positions before position 0: those of a prefix or a cache have negative numbers."""
    cells_are_sums: bool = False
    """For keys: a cell's value is the sum of the weights of its positions, not one weight."""

    def __post_init__(self) -> None:
        if self.length < 1 or self.positions_per_cell < 1:
            raise ValueError(
                f"an axis of {self.length} positions, {self.positions_per_cell} a cell: "
                "give at least 1 of each"
            )

    @property
    def cells(self) -> int:
        """Number of cells."""
        return -(-self.length // self.positions_per_cell)


@dataclass(frozen=True, slots=True)
class Caption:
    """The text above a figure. Text that is too long is shortened; markup is drawn literally."""

    title: str
    run: str = ""
    """Where the training stood: "step 1,200 · epoch 3 · loss 0.123"."""
    note: str = ""
    """What limits the figure: "averaged over 8 heads", "only the first of 4 windows …"."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One map of a figure, with its label.

    Raises ValueError if the arrays do not have the shape that the axes say.
    """

    label: str
    values: Values
    """[query cells, key cells] attention weights"""
    masked: MaskArray
    """[query cells, key cells] True where no query of the cell may attend to any of its keys."""
    queries: Axis
    keys: Axis

    def __post_init__(self) -> None:
        expected = (self.queries.cells, self.keys.cells)
        if self.values.shape != expected or self.masked.shape != expected:
            raise ValueError(
                f"values {self.values.shape} and masked {self.masked.shape} must both be "
                f"{expected}, as the axes say"
            )
