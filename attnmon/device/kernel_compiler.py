"""Compiles kernels in a process of its own, for Triton's cache on disk, from where they are loaded.

Requests are JSON, one a line: what Triton tells of a kernel before it compiles it. The answers are
lines too, an error each, empty where there was none; the first is of what Triton builds of its
driver by a C compiler. A device is not used, and has no context here.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

NICE = 10
ANSWER = "attnmon answers: "
"""The start of an answer: what others print when they are imported is none."""


def main() -> None:
    """Answer the requests on standard input, after one that is always made."""
    os.nice(NICE)
    _answer(_build_driver)
    for line in sys.stdin:
        _answer(partial(compile_kernel, json.loads(line)))


def _answer(build: Callable[[], object]) -> None:
    sys.stdout.write(f"{ANSWER}{_error_of(build)}\n")


def _error_of(build: Callable[[], object]) -> str:
    try:
        build()
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:1000]
    return ""


def _build_driver() -> None:
    from triton.backends.nvidia.driver import CudaUtils

    CudaUtils()


def compile_kernel(request: Mapping[str, Any]) -> Any:
    """Compile a kernel, or find it in Triton's cache, and return what Triton makes of it."""
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia import driver
    from triton.compiler import ASTSource, compile

    told = json.loads(request["specialization"])
    kernel = getattr(importlib.import_module(request["module"]), request["name"])
    signature = {name: _as_tuple(value) for name, value in told["signature"].items()}
    keys = [tuple(key) for key in told["constant_keys"]]
    constants = dict(zip(keys, told["constant_vals"], strict=True))
    attributes = dict(zip(map(tuple, told["attrs_keys"]), told["attrs_vals"], strict=True))
    options = {name: _as_tuple(value) for name, value in told["options"].items()}
    source = ASTSource(kernel, signature, constants, attributes)
    compiled = compile(source, target=GPUTarget(*request["target"]), options=options)
    if hasattr(driver, "make_launcher"):  # before 3.7 one is built for each signature
        driver.CudaLauncher(compiled.src, compiled.metadata)
    return compiled


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
