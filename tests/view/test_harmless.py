"""The server writes nothing, calls nobody, and runs nothing of what it reads."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.maps import random_weights, write_run
from support.viewing import Viewed

import attnmon_renderer

STEM = "decoder_layer0_self_attn"
CHANGES = (
    "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate",
    "os.chmod", "os.chown", "os.utime", "os.setxattr", "shutil.", "socket.connect",
    "socket.sendto", "socket.getaddrinfo", "subprocess.", "os.system", "os.exec", "os.fork",
    "os.posix_spawn", "webbrowser.",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
RUNNING = re.compile(
    r"(?<![\w.])(eval|exec|compile|__import__)\(|import (pickle|marshal|shelve|yaml)|pickle\.load"
    r"|allow_pickle=True|extractall\(|\.extract\(|shell=True"
)

_noted: list[tuple[str, Any]] = []
_notes = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _notes:
        return
    if event.startswith(CHANGES) or (event == "open" and arguments[2] & WRITING):
        _noted.append((event, arguments[:1]))


sys.addaudithook(_note)


@pytest.fixture
def noted() -> Iterator[list[tuple[str, Any]]]:
    """What changes a file or calls somebody, while the test runs."""
    global _notes
    _noted.clear()
    _notes = True
    yield _noted
    _notes = False


def test_nothing_is_written_and_nobody_is_called(
    tmp_path: Path, noted: list[tuple[str, Any]]
) -> None:
    run = write_run(tmp_path / "run", {1: {STEM: random_weights(2, 4, 4)}})
    (run / "step_1" / f"{STEM}.png").write_bytes(b"a picture")
    assert noted, "writing the run was noted"
    Viewed([]).ask("/")  # imports what it needs, which Python may compile and keep
    noted.clear()
    viewed = Viewed([run])
    address = viewed.only_run()
    for capture in viewed.captures().values():
        picture = f"{capture}/{STEM}.png".replace("/captures/", "/pictures/")
        for asked in ("/", address, f"{address}/history", capture, f"{capture}/{STEM}/mean",
                      f"{capture}/{STEM}/thumbs", picture):  # fmt: skip
            assert viewed.ask(asked).status == 200
    key = address.rpartition("/")[2]
    assert viewed.ask(f"/api/v1/compare?a={key}&b={key}").status == 200
    assert noted == []


def test_nothing_that_is_read_is_run() -> None:
    package = Path(attnmon_renderer.__file__).parent
    found = {
        str(path.relative_to(package)): RUNNING.findall(path.read_text())
        for path in package.rglob("*.py")
        if RUNNING.search(path.read_text())
    }
    assert found == {}
