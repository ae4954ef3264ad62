"""What the kernels are made for, and Triton itself. Anything else is sent as query and key."""

import os
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from attnmon.accounting.error_guard import describe
from attnmon.device.cell_grid import cells_along
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.survey_grid import MOST_CHUNKS, SurveyGrid

MEMORY = 1_900_000
"""Bytes on each device, reserved once, in which layers are summed up one after the other."""
MOST_KEPT = 0.6
"""Share of it for what is kept of the heads of one mean: the less is left, the more launches."""
ALIGNMENT = 64
"""Bytes at whose multiples arrays begin: for others Triton compiles a kernel once more."""
ALIGNMENTS = 12 * ALIGNMENT
"""Of these, what may lie between the arrays."""
WIDEST = 256
LEAST_CAPABILITY = (8, 0)
LEAST_TRITON = (3, 4)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def why_not(layer: LayerTensors, grid: SurveyGrid) -> str:
    """Return why this layer cannot be summed up by the kernels; empty if it can."""
    tensors = [t for t in (layer.query, layer.key, layer.bias, layer.sinks) if t is not None]
    dtypes = {tensor.dtype for tensor in tensors if tensor.dtype != torch.bool}
    if odd := [str(dtype) for dtype in dtypes if dtype not in DTYPES]:
        return f"the kernels read no {odd[0].removeprefix('torch.')}"
    if len({tensor.device for tensor in tensors}) > 1:
        return "its tensors are on several devices"
    if layer.query.shape[2] > WIDEST:
        return f"its heads are {layer.query.shape[2]} wide, and the kernels read {WIDEST}"
    if grid.chunks > MOST_CHUNKS or not division(layer, grid).at_once:
        return f"its {max(layer.shape[1:])} positions need more than {MEMORY / 10**6} MB"
    return why_not_on(layer.query.device)


class Division(NamedTuple):
    """How many heads of a layer are summed up at a time: whole groups that share a key head."""

    at_once: int
    """By one launch of each kernel; 0 where the memory suffices for none."""
    averaged: int
    """Into one mean: so many are summed up before it is made."""

    def parts(self, scratch: Tensor, grid: SurveyGrid, heads: int) -> tuple[Tensor, Tensor]:
        """Return memory for the log-sum-exp [heads, queries] of these heads, and the rest of it."""
        end = heads * grid.lse_bytes
        lse = scratch[:end].view(torch.float32).view(heads, grid.queries)
        return lse, scratch[-(-end // ALIGNMENT) * ALIGNMENT :]

    def bytes_sent(self, grid: SurveyGrid) -> int:
        """Return how many bytes of a layer leave the device."""
        average = grid.average
        means = cells_along(grid.heads, self.averaged)
        of_means = 0 if average is None else means * average.tiles * average.tile_bytes
        of_keys = grid.received_bytes if grid.window else 0
        return grid.heads * (grid.bytes_sent + of_keys) + of_means


def division(layer: LayerTensors, grid: SurveyGrid) -> Division:
    """Return the fewest means that the memory suffices for, and for each the fewest launches.

    Where there is no mean, heads whose log-sum-exp is kept are summed up at once.
    """
    groups, group = len(layer.key), layer.shape[0] // len(layer.key)
    each = group * (grid.received_bytes + grid.bytes_sent)
    for means in range(1, groups + 1):
        averaged = cells_along(groups, means)
        kept = averaged * group * grid.lse_bytes
        most = min((MEMORY - ALIGNMENTS - kept) // each, averaged)
        is_mean = grid.average is not None and kept <= MOST_KEPT * MEMORY
        if most >= (1 if is_mean else averaged):
            at_once = cells_along(averaged, cells_along(averaged, most))
            return Division(at_once * group, averaged * group)
    return Division(0, 0)


@cache
def why_not_on(device: torch.device) -> str:
    """Return why no kernel can be launched on a device; empty if one can."""
    if device.type != "cuda" or torch.version.hip is not None:
        return "the kernels are for devices of NVIDIA"
    if (found := torch.cuda.get_device_capability(device)) < LEAST_CAPABILITY:
        return f"the device has compute capability {found[0]}.{found[1]}, and 8.0 is needed"
    try:
        import triton
    except ImportError:
        return "Triton is not installed, which torch's builds for CUDA bring along"
    except Exception as error:  # of a build that does not fit
        return f"Triton cannot be imported: {describe(error)}"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "TRITON_INTERPRET is set, and the CPU would do a device's work"
    version = tuple(int(part) for part in triton.__version__.split(".")[:2])
    if version < LEAST_TRITON:
        least = ".".join(map(str, LEAST_TRITON))
        return f"Triton {triton.__version__} is too old: {least} is needed, as with torch 2.8"
    return ""


def load_triton() -> None:
    """Import Triton before training, and have it hash its own library; only in builds for CUDA.

    It hashes half a gigabyte before its first kernel, in the thread that launches it: a second, or
    several from a slow disk. An error is left to whoever launches a kernel, and says it.
    """
    if torch.version.cuda is None:
        return
    with suppress(Exception):
        try:
            from triton.runtime.cache import triton_key
        except ImportError:  # before 3.5
            from triton.compiler.compiler import triton_key
        triton_key()
