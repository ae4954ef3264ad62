"""What each package loads: no drawing in the training process, no torch in the renderer.

Looked at in a fresh interpreter, by `sys.modules`: a linter of import statements would not see
what a package's `__init__` or a library loads behind them.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import attnmon_renderer
from attnmon import TrainingAttentionMonitor

DRAWING = {"matplotlib", "PIL", "tensorboardX", "attnmon_renderer"}


def loaded_after(code: str) -> set[str]:
    """Runs code in an interpreter of its own. Returns the names of all modules loaded then."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


def import_all(package: str) -> str:
    """Returns code that imports a package and every module below it."""
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


def test_the_recorder_loads_no_drawing_before_it_draws() -> None:
    loaded = loaded_after("import attnmon_renderer.recorder")
    assert "attnmon_renderer.results" in loaded
    assert not loaded & {"matplotlib", "PIL", "tensorboardX", "torch"}


def test_a_worker_loads_no_drawing_before_it_draws() -> None:
    loaded = loaded_after("import attnmon_renderer.worker")
    assert "attnmon_renderer.figures.figure_plan" in loaded
    assert not loaded & {"matplotlib", "PIL", "tensorboardX", "torch"}


def test_matplotlib_s_figures_are_loaded_only_for_svg_and_pdf() -> None:
    loaded = loaded_after("import attnmon_renderer.figures.pages")
    assert "attnmon_renderer.drawing" in loaded
    assert "matplotlib.figure" not in loaded


def test_the_renderer_imports_no_torch_and_of_attnmon_only_the_link() -> None:
    loaded = loaded_after(import_all("attnmon_renderer"))
    assert "attnmon_renderer.worker" in loaded
    assert "torch" not in loaded
    ours = {name for name in loaded if name.startswith("attnmon.")}
    assert "attnmon.link.messages" in ours
    beyond = {name for name in ours if not name.startswith("attnmon.link")}
    assert beyond <= {"attnmon._version"}


def test_the_supervisor_loads_no_numerics() -> None:
    loaded = loaded_after("import attnmon_renderer.supervision.supervisor")
    assert not loaded & {"torch", "numpy", "matplotlib", "PIL", "tensorboardX", "safetensors"}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="read from Linux's /proc")
def test_the_running_renderer_has_mapped_no_torch(tmp_path: Path) -> None:
    """No library has loaded it either: the processes' memory maps are read after a whole run."""
    model = torch.nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
    with TrainingAttentionMonitor(
        tmp_path,
        save_frequency=1,
        visualization_types=["heatmap", "multi_head", "layer_comparison", "statistics"],
        save_raw_weights=True,
    ) as monitor:
        monitor.log_attention(model, torch.ones(1, 5, 16), torch.ones(1, 4, 16), step=0)
        pids = renderer_pids_when_done(tmp_path / "summary.json", captures=1)
        mapped = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    assert len(pids) >= 3
    assert "numpy" in mapped
    assert "libtorch" not in mapped


def renderer_pids_when_done(summary: Path, captures: int) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        accounts = json.loads(summary.read_text()) if summary.exists() else {}
        if accounts.get("rendered") == captures:
            return list(accounts["pids"])
        time.sleep(0.05)
    raise AssertionError(f"nothing was rendered in a minute: {accounts}")


# Who opens a file by its path follows links. What is listed opens nothing in a run's directory.
OPEN_BY_PATH = {
    "commands/__init__.py", "commands/renderer.py", "html_parts.py",
    "doctor/machine.py", "doctor/software.py",
    "drawing/text/font_files.py", "process_title.py", "server/client.py",
    "server/listener.py", "storage/regular_files.py", "supervision/child_process.py",
}  # fmt: skip
OPENING = re.compile(
    r"(?<![\w.])(?<!def )open\((?!descriptor)|os\.(open|listdir|scandir)\("
    r"|\.(read|write)_(text|bytes)\(|\.(glob|rglob|iterdir|mkdir)\("
)


def test_only_one_module_opens_what_a_run_s_directory_holds() -> None:
    package = Path(attnmon_renderer.__file__).parent
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if OPENING.search(path.read_text().replace("regular_files.", ""))
    }
    assert found == OPEN_BY_PATH
