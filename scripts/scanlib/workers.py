"""Runs each trial in a process of its own, forked from one that has every library loaded."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanlib.architecture import Architecture
from scanlib.trial import BUILD, Trial, tried

SECONDS = 60.0
"""For each part of a trial. The slowest takes a tenth on a quiet machine."""
RENDERER = """
import sys
import numpy, matplotlib, attnmon_renderer.recorder, attnmon_renderer.worker
from attnmon_renderer.commands.renderer import main
from attnmon_renderer.supervision import priority
priority.yield_to_training = lambda: "normal"
sys.exit(main())
"""
"""One renderer for all: loaded once, and of the scan's own priority, since it is waited for."""


@contextmanager
def shared_renderer() -> Iterator[Path]:
    """Starts a renderer that each trial's monitors join. Yields its socket."""
    folder = Path(tempfile.mkdtemp(prefix="attnmon-scan-"))
    command = [sys.executable, "-c", RENDERER, "--socket-dir", str(folder / "r")]
    (folder / "r").mkdir(mode=0o700)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield folder / "r" / "renderer.sock"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Running:
    """A trial that runs: its process, and what it has told so far."""

    architecture: Architecture
    pid: int
    pipe: int
    folder: Path
    since: float
    part: str = BUILD
    told: bytes = b""

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self.since > SECONDS

    def read(self) -> dict[str, Any] | None:
        """Reads what it tells. Returns its result once it has ended."""
        data = os.read(self.pipe, 1 << 16)
        self.told += data
        *lines, self.told = self.told.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "part" not in message:
                return dict(message)
            self.part, self.since = message["part"], time.monotonic()
        return None if data else self.gone("its process died")

    def gone(self, why: str) -> dict[str, Any]:
        """Returns the result of a trial that has no other."""
        if self.part == BUILD:
            return {"built": False, "why": why}
        return {"built": True, "hung": f"{why} in the {self.part}"}

    def end(self) -> None:
        """Ends the process, and all that it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.pipe)
        shutil.rmtree(self.folder, ignore_errors=True)


def results(
    architectures: Iterator[Architecture], renderer: Path, jobs: int
) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yields name, result and seconds of each trial, as they end."""
    running: dict[int, tuple[Running, float]] = {}
    waiting = iter(architectures)
    while True:
        while len(running) < jobs and (following := next(waiting, None)) is not None:
            started = start(following, renderer)
            running[started.pipe] = started, time.monotonic()
        if not running:
            return
        ready = select.select(list(running), [], [], 1.0)[0]
        for pipe, (trial, since) in list(running.items()):
            result = trial.read() if pipe in ready else None
            if result is None and trial.is_late:
                result = trial.gone(f"no end within {SECONDS:.0f} s")
            if result is not None:
                del running[pipe]
                trial.end()
                yield trial.architecture.name, result, time.monotonic() - since


def start(architecture: Architecture, renderer: Path) -> Running:
    """Forks a process for this trial."""
    reading, writing = os.pipe()
    folder = Path(tempfile.mkdtemp(prefix="attnmon-scan-"))
    pid = os.fork()
    if not pid:
        _run(
            architecture,
            Trial(folder, renderer, lambda part: _tell(writing, {"part": part})),
            writing,
        )
    os.close(writing)
    return Running(architecture, pid, reading, folder, time.monotonic())


def _run(architecture: Architecture, trial: Trial, writing: int) -> None:
    """Does the work of the forked process, and never returns."""
    try:
        os.setpgid(0, 0)
        _tell(writing, tried(architecture, trial))
    except BaseException as error:  # of the scan itself, or a library's sys.exit
        _tell(
            writing,
            {"built": False, "why": f"the trial raised {type(error).__name__}: {error}"[:300]},
        )
    finally:
        os._exit(0)


def _tell(writing: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(writing, data) :]
