"""Launches kernels as on a device, down to its driver, which is one that notes what it was given.

    python launched_without_device.py CAPABILITY FILE

Writes JSON: how often nothing could be launched yet, which launches came, what was compiled in this
very process, whether it hashed Triton, and which kernels take more than a device has. Half way, the
cache moves, as torch's compiler moves it.
"""

import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from benchlib.compiled_kernels import Case, compiled, launch_all, requests
from benchlib.noted_driver import NotedDriver
from triton import knobs
from triton.runtime import driver
from triton.runtime.cache import triton_key

from attnmon.device import kernel_builds
from attnmon.device.kernel_builds import BUILDS, NotBuilt
from attnmon.device.kernel_support import load_triton
from attnmon.device.layer_tensors import LayerTensors

CUDA = torch.device("cuda", 0)
compiled_here: list[str] = []


def once(layer: LayerTensors) -> None:
    """Launch all kernels for a layer: for its mask, if it has one, its rows, columns and keys."""
    with BUILDS.only_built(CUDA):
        launch_all(layer, 128, 128)


def main() -> None:
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
    half = replace(layers[1], query=wide[..., :128].half(), key=wide[..., :128].half())
    named = [Case(str(place), layer, 128, 128) for place, layer in enumerate((*layers, half))]
    asked = requests(int(sys.argv[1]), named)
    moved = Path(os.environ["TRITON_CACHE_DIR"]) / "moved"
    driver.set_active(noted := NotedDriver(int(sys.argv[1])))
    waited = 0
    until = time.monotonic() + 200
    while time.monotonic() < until:
        noted.launches.clear()
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
        "waited": waited, "failure": BUILDS.failure, "launches": noted.launches,
        "compiled_here": [*compiled_here], "hashed_here": triton_key.cache_info().misses - hashed,
    }  # fmt: skip
    taken = [compiled(*request) for request in asked.items()]
    found["taken"] = [each.kernel for each in taken]
    found["too much"] = [asdict(each) for each in taken if not each.fits]
    with open(sys.argv[2], "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
