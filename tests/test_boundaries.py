"""What each package loads: the training process no drawing, the renderer no torch.

Looked at in a fresh interpreter, by `sys.modules`: a linter of import statements would not see
what a package's `__init__` or a library loads behind them.
"""

import json
import subprocess
import sys

import pytest

DRAWING = {"matplotlib", "PIL", "tensorboardX", "attnmon_renderer"}


def loaded_after(code: str) -> set[str]:
    """Names of all modules loaded once `code` has run in an interpreter of its own."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


def import_all(package: str) -> str:
    """Code that imports a package and every module below it."""
    return (
        f"import importlib, pkgutil, {package} as package\n"
        f"for module in pkgutil.walk_packages(package.__path__, '{package}.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)"
    )


def test_import_attnmon_loads_neither_drawing_nor_torch() -> None:
    assert not loaded_after("import attnmon") & {*DRAWING, "torch", "numpy"}


@pytest.mark.parametrize("monitor", ["TrainingAttentionMonitor", "LightweightAttentionMonitor"])
def test_the_monitors_load_no_drawing(monitor: str) -> None:
    loaded = loaded_after(f"from attnmon import {monitor}")
    assert "torch" in loaded
    assert not loaded & DRAWING


def test_the_link_loads_neither_torch_nor_numpy() -> None:
    loaded = loaded_after(import_all("attnmon.link"))
    assert "attnmon.link.messages" in loaded
    assert not loaded & {*DRAWING, "torch", "numpy"}


def test_the_renderer_loads_no_torch_and_of_attnmon_only_the_link() -> None:
    loaded = loaded_after(import_all("attnmon_renderer"))
    assert "tensorboardX" in loaded
    assert "torch" not in loaded
    ours = {name for name in loaded if name.startswith("attnmon.")}
    assert "attnmon.link.messages" in ours
    beyond = {name for name in ours if not name.startswith("attnmon.link")}
    assert beyond <= {"attnmon._version"}


def test_the_supervisor_loads_no_numerics() -> None:
    loaded = loaded_after("import attnmon_renderer.supervisor")
    assert not loaded & {"torch", "numpy", "matplotlib", "PIL", "tensorboardX", "safetensors"}
