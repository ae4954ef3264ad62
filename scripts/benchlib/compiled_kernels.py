"""Compiles the kernels for devices that need not be there, and tells what each takes of them."""

import json
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

from attnmon.device import survey_launch
from attnmon.device.average_launch import divide, launch_average
from attnmon.device.kernel_builds import BUILDS, OURS, request_of
from attnmon.device.kernel_compiler import compile_kernel
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import find_mask_bound, mask_facts
from attnmon.device.survey_grid import SurveyGrid
from attnmon.device.survey_launch import SurveyMemory, launch
from benchlib.noted_driver import LEAST_SHARED, NotedDriver

MOST_STACK = 256
"""Bytes a thread of memory that devices set aside anyway: 1 kB, whatever is launched."""
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
WIDTHS = (256, 128, 80, 64, 16)
LENGTH, LONG = 500, 4001


class Case(NamedTuple):
    """A layer, and the sides of its heads' maps and of their mean; None: there is no such map."""

    name: str
    layer: LayerTensors
    side: int | None
    average: int | None = None


@dataclass(frozen=True)
class CompiledKernel:
    """What a kernel takes of a device, or why it could not be compiled."""

    kernel: str
    layer: str
    registers: int = 0
    stack: int = 0
    """Bytes a thread, of registers that did not suffice too."""
    shared: int = 0
    """Bytes a program."""
    error: str = ""

    @property
    def fits(self) -> bool:
        """Whether it runs on every device for which it was compiled."""
        return not self.error and self.stack <= MOST_STACK and self.shared <= LEAST_SHARED


def every_layer() -> Iterator[Case]:
    """Yield a case for every way to compile the kernels."""
    pairs = [(dtype, dtype) for dtype in DTYPES] + [(torch.bfloat16, torch.float32)]
    for of_query, of_key in pairs:
        for width in WIDTHS:
            query = torch.zeros(4, LENGTH, width, dtype=of_query)
            key = torch.zeros(2, LENGTH, width, dtype=of_key)
            name = f"{of_query} × {of_key}, {width} wide".replace("torch.", "")
            for case in _options(LayerTensors(query, key, 0.1)):
                yield case._replace(name=f"{name}, {case.name}")


def _options(plain: LayerTensors) -> Iterator[Case]:
    nowhere = torch.zeros(LENGTH).bool()
    added = torch.zeros(4, LENGTH, LENGTH)
    full = replace(
        plain, softcap=5.0, sinks=torch.zeros(4), padding=nowhere, declared=(nowhere, nowhere)
    )
    causal = replace(plain, causal=True)
    long = replace(causal, query=_repeated(plain.query), key=_repeated(plain.key))
    yield Case("causal", causal, 128, 1024)
    yield Case("fine cells", plain, 1024, 128)
    yield Case("one cell", causal, 1, 1)
    yield Case("large cells", long, 2, 1024)
    yield Case("statistics alone, mask of bfloat16", replace(plain, bias=added.bfloat16()), None)
    yield Case("all", replace(full, causal=True), 128, 128)
    yield Case("all, mask of bool", replace(full, causal=True, bias=added.bool()), 128, 1024)
    yield Case("all, mask of float32", replace(full, bias=added), 128, 1024)
    fewer = plain.query[:, :300], (nowhere[:300], nowhere)
    yield Case("fewer queries", replace(plain, query=fewer[0], declared=fewer[1]), 128, 1024)


def _repeated(vectors: torch.Tensor) -> torch.Tensor:
    return vectors[:, :1].expand(-1, LONG, -1)


def requests(capability: int, layers: Iterable[Case]) -> Mapping[str, str]:
    """Return what Triton would compile to launch these, each with the layer that asks first."""
    from triton import knobs
    from triton.runtime import driver

    driver.set_active(NotedDriver(capability))
    found: dict[str, str] = {}

    def note(name: str, **told: Any) -> bool:
        if told["fn"].module in OURS:
            found.setdefault(request_of(**told), name)
        return True

    as_on_device = survey_launch._multiplied(is_cuda=True)
    survey_launch._multiplied = lambda is_cuda: as_on_device
    for name, layer, side, average in layers:
        knobs.runtime.jit_cache_hook = partial(note, name)
        launch_all(layer, side, average)
    knobs.runtime.jit_cache_hook = None
    return found


def launch_all(layer: LayerTensors, side: int | None, average: int | None) -> None:
    """Launch every kernel for a layer once, for all heads and some tiles."""
    grid = SurveyGrid.of(layer, side, average, window=layer.bias is None)
    layer = replace(layer, bound=find_mask_bound(layer))
    if layer.bias is not None:
        mask_facts(layer)
    heads = layer.shape[0]
    lse = torch.zeros(heads, grid.queries)
    scratch = torch.zeros(4096 + heads * (grid.received_bytes + grid.bytes_sent)).byte()
    launch(layer, grid, SurveyMemory.on(scratch, grid, lse, len(layer.key)))
    if grid.average is not None:
        launch_average(layer, grid.average, lse, next(divide(scratch, grid.average)))
    BUILDS.require()


def compile_all(requests: Mapping[str, str], processes: int) -> Iterator[CompiledKernel]:
    """Compile what was requested, so many at a time, and yield it in its order."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(compiled, requests, requests.values())


def compiled(request: str, layer: str) -> CompiledKernel:
    """Compile what was requested for a layer, or find it in Triton's cache."""
    told = json.loads(request)
    try:
        made = compile_kernel(told)
    except Exception as error:
        return CompiledKernel(told["name"], layer, error=f"{type(error).__name__}: {error}")
    return CompiledKernel(told["name"], layer, *_taken(made.kernel), made.metadata.shared)


def _taken(binary: bytes) -> tuple[int, int]:
    """Return the registers and the bytes of stack of a thread."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        told = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    registers, stack = re.findall(r"REG:(\d+) STACK:(\d+)", told)[0]
    return int(registers), int(stack)


def as_table(kernels: Collection[CompiledKernel]) -> str:
    """Return what the kernels take at most, and each that does not fit, a line each."""
    lines = []
    for name in sorted({each.kernel for each in kernels}):
        some = [each for each in kernels if each.kernel == name]
        registers, stack, shared = (
            max(getattr(each, part) for each in some) for part in ("registers", "stack", "shared")
        )
        told = f"{name:18} {len(some):4} ways: at most {registers} registers, {stack} bytes of "
        lines.append(told + f"stack a thread, {shared:,} bytes of shared memory")
    return "\n".join(lines + [f"does not fit: {each}" for each in kernels if not each.fits])
