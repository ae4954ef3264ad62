"""Trainings in processes of their own, and faults put into the renderer that is started next."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outputs import summary

from attnmon import launch

PATIENCE = 60.0
HERE = Path(__file__).parent


def run(
    body: str, *, cwd: Path | None = None, before: list[str] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """A training script as its own process; `before` goes before Python on its command line."""
    prelude = f"""
        import os, signal, sys
        sys.path.insert(0, {str(HERE)!r})
        import torch
        from models import LanguageModel, Translator, batch
        from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(body)
    return subprocess.run(
        [*(before or ()), sys.executable, "-P", "-c", source],
        capture_output=True, text=True, check=False, timeout=100, cwd=cwd, env=os.environ | env,
    )  # fmt: skip


def on_a_disk_of(size: str, folder: Path) -> list[str]:
    """What goes before a command so that it finds a disk of that size there, and nobody else does.

    Skips the test where the system does not let us mount one.
    """
    mount = f'mount -t tmpfs -o size={size} none "{folder}" && exec "$@"'
    return [*namespace("--mount"), "sh", "-c", mount, "sh"]


def namespace(*kinds: str) -> list[str]:
    """What goes before a command so that it runs in a namespace of its own; or skips the test."""
    command = ["unshare", *(() if os.geteuid() == 0 else ("--map-root-user",)), *kinds]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if allowed.returncode:
        pytest.skip(f"no namespace for us: {allowed.stderr.decode()}")
    return command


def in_the_renderer(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have this run in the renderer that is started next, before it serves."""
    before = "from attnmon_renderer.supervisor import serve\n"
    assert before in launch._BOOT
    code = f"sys.path.append({str(HERE)!r})\n{textwrap.dedent(code)}\n"
    monkeypatch.setattr(launch, "_BOOT", launch._BOOT.replace(before, code + before))


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def wait_for_the_end(folder: Path) -> None:
    """Until the renderer has written its last summary."""
    wait_for(lambda: _summary(folder).get("pids") == [], "the last summary is not written")
    wait_for(launch.none_is_finishing, "the renderer does not end")


def until_rendered(folder: Path, captures: int) -> None:
    wait_for(lambda: _summary(folder).get("rendered", 0) >= captures, "nothing is drawn")


def pids(folder: Path) -> list[int]:
    """The renderer's processes, its supervisor first, as the summary tells them."""
    found: list[int] = summary(folder)["pids"]
    return found


def _summary(folder: Path) -> Any:
    return summary(folder) if (folder / "summary.json").exists() else {}
