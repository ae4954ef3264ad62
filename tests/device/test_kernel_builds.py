"""Kernels as they are compiled and launched for a device, which needs none: the driver is noted.

In processes of their own: in this one Triton interprets them.
"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.project import PROJECT, SCRIPTS, TESTS

from attnmon.device import kernel_builds, kernel_compiler
from attnmon.device.kernel_builds import KernelBuilds, NotBuilt
from attnmon.device.kernel_compiler import ANSWER

pytest.importorskip("triton", reason="Triton has no wheel for this machine")

CUDA = torch.device("cuda", 0)
MASK = ["survey_mask_bound", "survey_mask_rows", "survey_mask_keys"]
SURVEY = ["survey_rows", "survey_columns", "survey_keys"]
REST = ["survey_window", "survey_average"]
"""The first where there is no mask."""
KERNELS = [*MASK, *SURVEY, REST[1], *SURVEY, *REST]


@pytest.mark.timeout(300)  # on whatever the machine has left
def test_kernels_are_compiled_elsewhere_and_launched_when_they_are(tmp_path: Path) -> None:
    """What is launched is found in Triton's cache: this is where training would have waited.

    One layer has all options; the other is of float32, whose wide heads take registers; a third, of
    16 bits without a mask, has the largest tiles, and is compiled alone.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path / "cache")
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [PROJECT, SCRIPTS, *sys.path]))
    script = TESTS / "support" / "launched_without_device.py"
    command = [sys.executable, str(script), "90", str(tmp_path / "found.json")]
    subprocess.run(command, env=environment, check=True, timeout=280)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["failure"] == ""
    assert found["waited"] > 0
    assert found["compiled_here"] == []
    assert found["hashed_here"] == 0
    assert [each["name"] for each in found["launches"]] == KERNELS
    once = [*SURVEY[:2], *REST]
    assert found["taken"] == [*KERNELS[:7], *once, *once], "that of keys is one for all"
    assert found["too much"] == []


def told_of(module: str) -> dict[str, Any]:
    """Return what Triton says of a kernel that it is about to compile."""
    function = SimpleNamespace(fn=SimpleNamespace(__name__="kernel"))
    return {
        "fn": SimpleNamespace(module=module, jit_function=function),
        "compile": {"specialization_data": "{}"},
    }


def test_others_kernels_are_left_to_triton() -> None:
    """One of the user's that is compiled meanwhile, on another thread, is launched as ever."""
    builds = KernelBuilds()
    heard = []

    def theirs(**told: Any) -> bool:
        heard.append(told["fn"].module)
        return False

    assert builds._is_missing(None, **told_of("their.kernels")) is None
    assert builds._is_missing(theirs, **told_of("their.kernels")) is False
    assert heard == ["their.kernels"]
    builds.require()


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("raise SystemExit(3)", "ended with 3"),
        (f"print('hello'); print({ANSWER!r}); print({ANSWER!r} 'OSError: no disk')", "no disk"),
        (f"print({ANSWER!r} 'no C compiler'); print({ANSWER!r})", "no C compiler"),
    ],
)
def test_what_cannot_be_compiled_is_given_up(
    program: str, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_builds, "_BOOT", program)
    builds = KernelBuilds()
    builds._start(("one request",))
    process = builds._process
    assert process is not None
    with pytest.raises(NotBuilt, match=kernel_builds.WAITING), builds.only_built(CUDA):
        pytest.fail("launched before the process has answered")
    process.wait()
    for _ in range(2):
        with pytest.raises(NotBuilt, match=failure), builds.only_built(CUDA):
            pytest.fail("launched although nothing was compiled")
    assert builds._process is None


def test_an_application_that_is_no_python_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    builds = KernelBuilds()
    with pytest.raises(NotBuilt, match="is no Python"), builds.only_built(CUDA):
        pytest.fail("launched although nothing can be compiled")


def test_a_compilation_ends_with_the_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_builds, "_BOOT", "import time; time.sleep(600)")
    builds = KernelBuilds()
    builds._start(())
    process = builds._process
    assert process is not None
    builds.end()
    assert process.returncode == -9
    builds.end()


def test_an_error_of_the_compiler_is_one_line() -> None:
    request = {"specialization": "no JSON\n"}
    answer = kernel_compiler._error_of(partial(kernel_compiler.compile_kernel, request))
    assert answer.startswith("JSONDecodeError: ")
    assert "\n" not in answer
