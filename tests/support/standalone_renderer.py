"""Starts the command `attnmon-renderer` for a test."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnmon.link import rendezvous
from support.training_process import PATIENCE, wait_for


class Renderer:
    """A running `attnmon-renderer` with its log.

    before: Python code that runs first in its process.
    """

    def __init__(self, folder: Path, *options: str, before: str = "") -> None:
        self.socket = folder / rendezvous.SOCKET_NAME
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - outlives this call
        self.process = subprocess.Popen(
            [
                sys.executable, "-c",
                f"{before}\nimport sys\nfrom attnmon_renderer.commands.renderer import main\n"
                "sys.exit(main())",
                "--socket-dir", str(folder), *options,
            ],
            stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def says(self, words: str) -> None:
        """Waits until these words are in the log."""
        wait_for(lambda: words in self.log, f"{words!r} is not in the log")

    def end(self, number: signal.Signals) -> int:
        """Sends the signal and waits for the end. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@contextmanager
def running_renderer(folder: Path, *options: str, before: str = "") -> Iterator[Renderer]:
    """Starts a renderer, waits until it listens, and kills it at the end of the block."""
    started = Renderer(folder, *options, before=before)
    try:
        started.says("listens at")
        yield started
    finally:
        started.close()
