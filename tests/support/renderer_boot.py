"""Code that runs in a renderer before it serves."""

import textwrap

import pytest

from attnmon.session import renderer_process
from support.project import TESTS


def run_before_serving(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code in each renderer that this process starts from now on, before it serves."""
    before = "from attnmon_renderer.supervision.supervisor import serve\n"
    assert before in renderer_process._BOOT
    code = f"sys.path.append({str(TESTS)!r})\n{textwrap.dedent(code)}\n"
    monkeypatch.setattr(
        renderer_process, "_BOOT", renderer_process._BOOT.replace(before, code + before)
    )
