"""Array types, the arrays of a message in the ring's memory, and reusable memory for new ones."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon.link.records.dtypes import DTYPES
from attnmon.link.records.ring_blocks import ArrayBlock

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
"""[rows, columns, 3] Red, green and blue."""
Memory = memoryview | bytes | npt.NDArray[np.uint8]


def read_array(block: ArrayBlock, memory: Memory) -> npt.NDArray[Any]:
    """Returns a view of the block's array in `memory`; bfloat16 values come as uint16.

    Raises:
        ValueError: the memory ends before the block does.
    """
    dtype = np.dtype(DTYPES[block.dtype].numpy)
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
    """Returns what `read_array` returned as float32; not copied if it is float32 already."""
    if array.dtype == np.uint16:  # a bfloat16 is the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


class Rows:
    """Indices of query rows, in ascending order, and the cheapest numpy selector for them."""

    def __init__(self, indices: Integers) -> None:
        self.indices = indices
        """[rows]"""
        self.first, self.last = int(indices[0]), int(indices[-1])
        contiguous = self.last - self.first + 1 == len(indices)
        self.selector = slice(self.first, self.last + 1) if contiguous else indices
        """A slice where the rows are contiguous, so that numpy returns a view; else the indices."""

    def __len__(self) -> int:
        return len(self.indices)


class ScratchBuffer:
    """Memory for one array at a time, reused: new memory costs more than most operations on it."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float32)

    def array(self, *shape: int) -> Floats:
        """Returns an uninitialized array; it overwrites the one returned before."""
        size = math.prod(shape)
        if size > self._memory.size:
            self._memory = np.empty(size, np.float32)
        return self._memory[:size].reshape(shape)
