"""What `ps` and `top` call the renderer's processes."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from attnmon import TrainingAttentionMonitor
from attnmon_renderer.process_title import set_title

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/mem").exists() or shutil.which("ps") is None, reason="Linux, with ps"
)


def ps(pid: int) -> str:
    """Returns the name and the command line of a process, as the system's own `ps` reads them."""
    shown = subprocess.run(
        ["ps", "-o", "comm=,args=", "-ww", "-p", str(pid)], capture_output=True, text=True
    )
    return shown.stdout.strip()


def titled(role: str, save_dir: str, *arguments: str) -> str:
    """Returns what `ps` shows of a new interpreter that has taken this title."""
    code = (
        "import os, sys\nfrom attnmon_renderer.process_title import set_title\n"
        f"set_title({role!r}, {save_dir!r})\n"
        "print(sys.argv[1:], os.environ['BEHIND'], flush=True)\ninput()"
    )
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "BEHIND": "the command line"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == f"{list(arguments)} the command line\n"
        shown = ps(process.pid)
        process.stdin.write("\n")
    return shown


def test_a_title_is_shown_and_changes_neither_arguments_nor_environment() -> None:
    shown = titled("worker", "/runs/demo_logs", "one", "two")
    assert shown.split(maxsplit=2)[2].endswith("attnmon: worker demo_logs")


def test_a_title_that_is_longer_than_the_command_line_is_cut() -> None:
    shown = titled("worker", "/runs/" + 255 * "x" + 2000 * "y")
    assert "attnmon: worker xxx" in shown
    assert "BEHIND" not in shown


def test_where_it_is_not_allowed_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    before = ps(os.getpid())
    monkeypatch.setattr(Path, "write_bytes", refuse)
    set_title("worker", "/runs/demo_logs")
    assert ps(os.getpid()) == before


def test_each_process_of_a_run_says_what_it_does_and_for_which(tmp_path: Path) -> None:
    save_dir = tmp_path / "demo_logs"
    model = torch.nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
    with TrainingAttentionMonitor(save_dir, save_frequency=1, on_full="wait") as monitor:
        monitor.log_attention(model, torch.ones(1, 5, 16), torch.ones(1, 4, 16), step=0)
        shown = [ps(pid) for pid in renderer_pids_when_done(save_dir / "summary.json")]
    roles = {each.rpartition("attnmon: ")[2].removesuffix(" demo_logs") for each in shown}
    assert roles - {"probe"} == {"recorder", "renderer", "worker"}


def renderer_pids_when_done(summary: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        accounts = json.loads(summary.read_text()) if summary.exists() else {}
        if accounts.get("rendered") == 1:
            return list(accounts["pids"])
        time.sleep(0.05)
    raise AssertionError("nothing was rendered in a minute")
