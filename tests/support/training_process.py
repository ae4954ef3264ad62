"""Runs training scripts in processes of their own, and waits for what their renderers do."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnmon.monitor import AttentionMonitor
from attnmon.session import renderer_process
from support.forked_script import can_fork_with, run_source
from support.outputs import summary
from support.project import TESTS

PATIENCE = 60.0
"""Seconds after which something that should happen counts as not happening."""


def run_training(
    body: str, *, cwd: Path | None = None, prefix: list[str] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs a training script to its end in a process of its own.

    It is a fork of one that has torch, unless a new interpreter has to see something. prefix: a
    command that starts Python, as those of `support.namespaces`. env: variables to add.
    """
    prelude = f"""
        import os, signal, sys
        sys.path.insert(0, {str(TESTS)!r})
        import torch
        from support.models import LanguageModel, Translator, batch
        from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(body)
    if prefix is None and can_fork_with(env):
        return run_source(source, cwd=cwd, variables=env)
    return subprocess.run(
        [*(prefix or ()), sys.executable, "-P", "-c", source],
        capture_output=True, text=True, check=False, timeout=100, cwd=cwd, env=os.environ | env,
    )  # fmt: skip


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition is true. Fails with `what` if that takes longer than PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)  # the renderer gets only what nobody else wants


def wait_until_rendered(folder: Path, captures: int) -> None:
    """Waits until the summary of the run counts at least so many captures as rendered."""
    wait_for(lambda: _summary(folder).get("rendered", 0) >= captures, f"{captures} are not drawn")


def wait_until_settled(monitor: AttentionMonitor) -> None:
    """Waits until the renderer has acknowledged all that was announced."""
    wait_for(lambda: _pending(monitor) == 0, "not all captures are acknowledged")


def _pending(monitor: AttentionMonitor) -> int:
    monitor._session.poll()
    return monitor._session.accounts()["pending"]


def wait_until_closed(folder: Path, last_step: int | None = None) -> None:
    """Waits until the renderer has written its last summary and ended.

    last_step: the last step of the run to wait for, where several runs write to the folder.
    """
    wait_for(lambda: _has_ended(folder, last_step), "the last summary is not written")
    wait_for(renderer_process.none_is_finishing, "the renderer does not end")


def delete_in_use(folder: Path) -> None:
    """Deletes a folder to which a renderer may be writing this moment.

    It is moved away first: a file that is written while a tree is deleted would fail the deletion.
    """
    aside = folder.with_name(f"{folder.name} aside")
    folder.rename(aside)
    shutil.rmtree(aside)


def renderer_pids(folder: Path) -> list[int]:
    """Returns the renderer's processes from the run's summary, the supervisor first."""
    found: list[int] = summary(folder)["pids"]
    return found


def _has_ended(folder: Path, last_step: int | None) -> bool:
    said = _summary(folder)
    return said.get("pids") == [] and last_step in (None, said["last_step"])


def _summary(folder: Path) -> Any:
    return summary(folder) if (folder / "summary.json").exists() else {}
