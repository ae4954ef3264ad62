"""Launches the kernel for the mean of a layer's maps over its heads, some tiles at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnmon.device.cell_grid import AverageGrid
from attnmon.device.kernel_support import ALIGNMENT
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.survey_launch import arguments, tensors_read


@dataclass(frozen=True, slots=True)
class AverageMemory:
    """Where the kernel writes some tiles; a part of memory that is reused."""

    first: int
    """The number of the first tile."""
    scales: Tensor
    """float32 [tiles] The largest cell of each."""
    codes: Tensor
    """uint8 [tiles, rows, keys] Its cells, as `AVERAGE_LEVELS` tells."""
    sent_bytes: Tensor
    """uint8 Both, side by side."""

    @property
    def sent(self) -> tuple[Tensor, ...]:
        """What leaves the device."""
        return self.scales, self.codes


def divide(scratch: Tensor, grid: AverageGrid) -> Iterator[AverageMemory]:
    """Yield memory for as many tiles at a time as there is room for, until all have had some."""
    at_once = (len(scratch) - ALIGNMENT) // grid.tile_bytes
    shape = grid.tile_rows, grid.tile_keys
    for first in range(0, grid.tiles, at_once):
        tiles = min(at_once, grid.tiles - first)
        scales = scratch[: 4 * tiles].view(torch.float32)
        start = -(-scales.nbytes // ALIGNMENT) * ALIGNMENT
        end = start + tiles * shape[0] * shape[1]
        codes = scratch[start:end].view(tiles, *shape)
        yield AverageMemory(first, scales, codes, scratch[:end])


def launch_average(
    layer: LayerTensors, grid: AverageGrid, lse: Tensor, memory: AverageMemory
) -> None:
    """Start to make these tiles on the present stream. `lse`: [heads, queries] of `launch`."""
    from attnmon.device.kernels import average_kernels as kernels  # it needs Triton

    kernels.survey_average[(len(memory.scales),)](
        *tensors_read(layer, memory.scales),
        lse,
        memory.scales,
        memory.codes,
        heads=layer.shape[0],
        key_step=grid.key_step,
        first_tile=memory.first,
        key_tiles=grid.key_tiles,
        CELL_KEYS=grid.cell_keys,
        TRIANGLE=grid.is_triangle,
        **arguments(layer, grid),
    )
