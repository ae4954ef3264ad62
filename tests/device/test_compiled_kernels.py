"""The kernels compiled for a device, which needs none: types and layouts fit, registers suffice.

In a process of its own: in this one Triton interprets them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import PROJECT

pytest.importorskip("triton", reason="Triton has no wheel for this machine")

COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from attnmon.device import mask_kernels, survey_kernels

BOTH = dict(WIDTH=128, ROWS=32, KEYS=32, HALF=True, SOFTCAP=True, BIAS=2, CAUSAL=False)
BOTH |= dict(PADDING=True, CELLS=True, CELL_ROWS=8)
ROWS = dict(BOTH, SINKS=True, SCALED=True, DECLARED=True)
COLUMNS = dict(BOTH, CELL_KEYS=4, CHUNKS=1)
POINTERS = {
    "query": "bf16", "key": "bf16", "bias": "fp32", "sinks": "bf16", "padding": "u8",
    "declared_queries": "u8", "declared_keys": "u8", "cells": "fp16", "lse": "fp32",
    "parts": "fp32", "received": "fp32", "row_parts": "fp32",
    "strongest": "i32", "facts": "i32", "latest": "i32",
}

def type_of(name):
    if name in POINTERS:
        return "*" + POINTERS[name]
    return "fp32" if name in ("scale", "softcap", "center") else "i32"

MASK = {"IS_BOOL": False, "ROWS": mask_kernels.ROWS, "KEYS": mask_kernels.KEYS}
KERNELS = {
    "rows": (survey_kernels, ROWS), "columns": (survey_kernels, COLUMNS),
    "keys": (survey_kernels, {"KEYS": 1024}),
    "mask_rows": (mask_kernels, MASK), "mask_keys": (mask_kernels, MASK),
}

for name, (module, known) in KERNELS.items():
    kernel = getattr(module, f"survey_{name}")
    types = {each: "constexpr" if each in known else type_of(each) for each in kernel.arg_names}
    source = ASTSource(kernel, types, known)
    options = {"num_warps": module.WARPS, "num_stages": survey_kernels.STAGES}
    made = compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    open(f"{sys.argv[1]}/{name}.cubin", "wb").write(made.asm["cubin"])
"""


def test_the_kernels_compile_and_spill_no_register(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path / "cache")
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *sys.path])
    command = [sys.executable, "-c", COMPILE, str(tmp_path)]
    subprocess.run(command, env=environment, check=True, timeout=100)
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    for name in ("rows", "columns", "keys", "mask_rows", "mask_keys"):
        listing = [str(tool), "--dump-resource-usage", str(tmp_path / f"{name}.cubin")]
        used = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
        assert re.findall(r"STACK:(\d+)", used) == ["0"], (name, used)
