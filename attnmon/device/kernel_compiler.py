"""Compiles kernels in a process of its own, for Triton's cache on disk, from where they are loaded.

Requests are JSON, one a line: what Triton tells of a kernel before it compiles it. The answers are
lines too, an error each, empty where there was none. A device is not used, and has no context here.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

NICE = 10
ANSWER = "attnmon answers: "
"""The start of an answer: what others print when they are imported is none."""


def main() -> None:
    """Answer the requests on standard input; none at all only has Triton's driver built."""
    os.nice(NICE)
    with suppress(Exception):  # whoever launches kernels will meet it, and say it
        _build_driver()
    for line in sys.stdin:
        sys.stdout.write(f"{ANSWER}{_error_of(json.loads(line))}\n")


def _build_driver() -> None:
    """Have what Triton builds of its driver by a C compiler ready in its cache."""
    from triton.runtime import driver

    assert driver.active.utils is not None


def _error_of(request: Mapping[str, Any]) -> str:
    try:
        _compile(request)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:1000]
    return ""


def _compile(request: Mapping[str, Any]) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile
    from triton.runtime import driver

    told = json.loads(request["specialization"])
    kernel = getattr(importlib.import_module(request["module"]), request["name"])
    signature = {name: _as_tuple(value) for name, value in told["signature"].items()}
    keys = [tuple(key) for key in told["constant_keys"]]
    constants = dict(zip(keys, told["constant_vals"], strict=True))
    attributes = dict(zip(map(tuple, told["attrs_keys"]), told["attrs_vals"], strict=True))
    options = {name: _as_tuple(value) for name, value in told["options"].items()}
    source = ASTSource(kernel, signature, constants, attributes)
    compiled = compile(source, target=GPUTarget(*request["target"]), options=options)
    with suppress(Exception):  # versions that build a launcher for each signature
        driver.active.launcher_cls(compiled.src, compiled.metadata)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
