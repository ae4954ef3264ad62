"""The arrays of a message, read from the ring's memory."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon.link.messages import ArrayBlock

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Memory = memoryview | bytes | npt.NDArray[np.uint8]


def read(block: ArrayBlock, memory: Memory) -> npt.NDArray[Any]:
    """The block's array as it lies in `memory`, not copied. A bfloat16 stays 16 bits, as uint16.

    Raises ValueError when the memory ends before the block does.
    """
    dtype = np.dtype("uint16" if block.dtype == "bfloat16" else block.dtype)
    if block.nbytes == 0:
        return np.empty(block.shape, dtype)
    if (end := block.offset + block.nbytes) > len(memory):
        raise ValueError(
            f"an array ends at byte {end} of the ring, of which {len(memory)} are mapped here; a "
            "ring that has grown is out of reach where addresses are rationed (ulimit -v)"
        )
    count = math.prod(block.shape)
    return np.frombuffer(memory, dtype, count, block.offset).reshape(block.shape)


def to_float32(array: npt.NDArray[Any]) -> Floats:
    """The values of an array made by `read`; the array itself when it is float32 already."""
    if array.dtype == np.uint16:  # a bfloat16 is the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


class Rows:
    """Some query rows in rising order, with the selector by which numpy copies least."""

    def __init__(self, indices: Integers) -> None:
        self.indices = indices
        self.first, self.last = int(indices[0]), int(indices[-1])
        unbroken = self.last - self.first + 1 == len(indices)
        self.selector = slice(self.first, self.last + 1) if unbroken else indices

    def __len__(self) -> int:
        return len(self.indices)


class Scratch:
    """Memory for one array, used again and again: fresh memory costs more than most operations."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float32)

    def take(self, *shape: int) -> Floats:
        """An array of any content, in the place of the one that was taken before."""
        size = math.prod(shape)
        if size > self._memory.size:
            self._memory = np.empty(size, np.float32)
        return self._memory[:size].reshape(shape)
