"""Faults: disks of any size, namespaces, and code put into the renderer that is started next."""

import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from attnmon.session import renderer_process
from support.project import TESTS


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
    before = "from attnmon_renderer.supervision.supervisor import serve\n"
    assert before in renderer_process._BOOT
    code = f"sys.path.append({str(TESTS)!r})\n{textwrap.dedent(code)}\n"
    monkeypatch.setattr(
        renderer_process, "_BOOT", renderer_process._BOOT.replace(before, code + before)
    )
