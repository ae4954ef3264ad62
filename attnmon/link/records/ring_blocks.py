"""Where in the ring a capture lies: its slots, and the arrays in them."""

import math
from dataclasses import dataclass

from attnmon.link.records.dtypes import DTYPES
from attnmon.link.records.schema import require

LONGEST_SIDE = 1 << 22
"""The largest dimension of an array: the renderer holds a few rows of so many keys at once."""


@dataclass(frozen=True, slots=True)
class Slots:
    """A run of neighbouring slots of the ring. They belong to whoever holds the message."""

    first: int
    count: int

    def __post_init__(self) -> None:
        require(self.first >= 0 and self.count > 0, "slots", (self.first, self.count))


@dataclass(frozen=True, slots=True)
class ArrayBlock:
    """An array in the ring, in C order."""

    offset: int
    """Bytes from the start of the ring."""
    dtype: str
    """A name of `DTYPES`."""
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype)
        require(len(self.shape) <= 4, "shape", self.shape)
        require(all(0 <= n <= LONGEST_SIDE for n in self.shape), "shape", self.shape)
        require(self.offset >= 0, "offset", self.offset)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize
