"""The standalone renderer's log does not wait for a reader: all its trainings would wait too."""

import os
from collections.abc import Iterator

import pytest

from attnmon_renderer.commands.renderer import TerminalLog


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def fill(writing: int) -> int:
    """Write until the pipe takes no more; returns how many bytes it took."""
    os.set_blocking(writing, False)
    taken = 0
    try:
        while True:
            taken += os.write(writing, b"." * 512)
    except BlockingIOError:
        os.set_blocking(writing, True)  # a log that waited would wait for ever
        return taken


def test_a_full_pipe_is_not_waited_for_and_what_is_left_out_is_said(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with open(writing, "w", encoding="utf-8") as stream:
        log = TerminalLog(stream)
        log.log("first")
        taken = fill(writing)
        log.log("second")
        log.log("third")
        first = os.read(reading, 1_000_000)
        log.log("fourth")
        rest = os.read(reading, 1_000_000)
    assert first.startswith(b"[")
    assert first.splitlines()[0].endswith(b"first")
    assert len(first) > taken
    said, last = rest.decode().splitlines()
    assert said == "(2 lines left out: nobody read them)"
    assert last.endswith("fourth")


def test_a_long_line_never_overfills_a_pipe_that_has_little_room(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with open(writing, "w", encoding="utf-8") as stream:
        log = TerminalLog(stream)
        fill(writing)
        os.read(reading, 4096)  # one page: what "ready" promises
        log.log("汉" * 50_000)
        log.log("not waited for")
        received = os.read(reading, 1_000_000)
    assert "汉".encode() in received
    assert b"not waited for" not in received
