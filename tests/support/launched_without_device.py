"""Launches kernels as on a device, down to its driver, which is one that notes what it was given.

    python launched_without_device.py CAPABILITY FILE

Writes JSON: how often nothing could be launched yet, which launches came, what was compiled in this
very process, and whether it hashed Triton. Half way, the cache moves, as torch's compiler moves it.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.cache import triton_key

from attnmon.device import kernel_builds
from attnmon.device.kernel_builds import BUILDS, NotBuilt
from attnmon.device.kernel_support import load_triton
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import mask_facts
from attnmon.device.survey_grid import SurveyGrid
from attnmon.device.survey_launch import SurveyMemory, launch

CUDA = torch.device("cuda", 0)
launches: list[dict[str, Any]] = []
compiled_here: list[str] = []


class NotedDriver:
    """Stands in for Triton's own."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)
        self.utils = self

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 99 * 1024}

    def load_binary(self, name: str, binary: bytes, shared: int, device: int) -> Any:
        return object(), object(), 0, 0, 1024

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        def run(x: int, y: int, z: int, *given: Any) -> None:
            launches.append({"name": metadata.name, "grid": [x, y, z], "shared": metadata.shared})

        return run


def once(layer: LayerTensors) -> None:
    """Launch all kernels for a layer: for its mask, if it has one, its rows, columns and keys."""
    grid = SurveyGrid.of(layer, 128)
    heads, key_heads = layer.shape[0], len(layer.key)
    scratch = torch.zeros(4_000_000, dtype=torch.uint8)
    with BUILDS.only_built(CUDA):
        if layer.bias is not None:
            mask_facts(layer)
        launch(layer, grid, SurveyMemory.on(scratch, grid, heads, key_heads))


def main() -> None:
    driver.set_active(NotedDriver(int(sys.argv[1])))
    # Beside other tests, and without CUDA's library, against which the driver is linked.
    here = "kernel_compiler.NICE, kernel_compiler._build_driver = 0, int\nkernel_compiler.main()"
    kernel_builds._BOOT = kernel_builds._BOOT.replace("kernel_compiler.main()", here)
    torch.version.cuda = "13.0"
    load_triton()
    hashed = triton_key.cache_info().misses
    knobs.compilation.listener = lambda src, cache_hit, **_: (
        None if cache_hit else compiled_here.append(src.name)
    )
    torch.manual_seed(0)
    query = torch.randn(4, 500, 128).half()
    masked = LayerTensors(
        query, query[:2], 0.1, softcap=5.0, bias=torch.zeros(4, 500, 500),
        sinks=torch.zeros(4).half(), padding=torch.zeros(500).bool(),
        declared=(torch.zeros(500).bool(), torch.zeros(500).bool()),
    )  # fmt: skip
    wide = torch.randn(1, 100, 256)
    layers = masked, LayerTensors(wide, wide, 0.1, causal=True)
    moved = Path(os.environ["TRITON_CACHE_DIR"]) / "moved"
    waited = 0
    until = time.monotonic() + 200
    while time.monotonic() < until:
        launches.clear()
        try:
            for layer in layers:
                once(layer)
            break
        except NotBuilt:
            waited += 1
            if BUILDS.failure:
                break
            if BUILDS._asked:  # what is compiled now will not be looked for where it is then
                os.environ["TRITON_CACHE_DIR"] = str(moved)
            time.sleep(0.2)
    found = {
        "waited": waited, "failure": BUILDS.failure, "launches": launches,
        "compiled_here": compiled_here, "hashed_here": triton_key.cache_info().misses - hashed,
    }  # fmt: skip
    with open(sys.argv[2], "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
