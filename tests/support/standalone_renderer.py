"""A running `attnmon-renderer`, and where it listens."""

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
    """A running `attnmon-renderer`, and what it has said so far."""

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
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def says(self, words: str) -> None:
        wait_for(lambda: words in self.log, f"{words!r} is not in the log")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@contextmanager
def running_renderer(folder: Path, *options: str, before: str = "") -> Iterator[Renderer]:
    started = Renderer(folder, *options, before=before)
    try:
        started.says("listens at")
        yield started
    finally:
        started.close()
