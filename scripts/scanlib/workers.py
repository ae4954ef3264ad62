"""Runs each trial in a process of its own, forked from one that has every library loaded."""

import faulthandler
import gc
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from scanlib.architecture import TOO_LARGE, Architecture
from scanlib.trial import ALONE, BUILD, Trial, tried

SECONDS = 120.0
"""For each part of a trial. The slowest takes a twentieth on a quiet machine."""
WHERE = "where"
RENDERER = """
import sys
import numpy, matplotlib, attnmon_renderer.recorder, attnmon_renderer.worker
from attnmon_renderer.commands.renderer import main
from attnmon_renderer.supervision.scheduling import priority
priority.yield_to_training = lambda pid=0: "normal"
priority.lower_to_bursts = lambda pid: None
sys.exit(main())
"""
"""One renderer for all: loaded once, and of the scan's own priority, since it is waited for."""


@contextmanager
def shared_renderer() -> Iterator[Path]:
    """Starts a renderer that each trial's monitors join. Yields its socket.

    The folder of each trial lies beside it, and goes with it: the renderer may write there after
    the trial's process was killed.
    """
    folder = Path(tempfile.mkdtemp(prefix="attnmon-scan-"))
    command = [sys.executable, "-c", RENDERER, "--socket-dir", str(folder / "r"), "--grace", "5"]
    (folder / "r").mkdir(mode=0o700)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, process_group=0)
    socket = folder / "r" / "renderer.sock"
    try:
        while not socket.exists() and process.poll() is None:
            time.sleep(0.05)
        yield socket
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _end(renderer: subprocess.Popen[bytes]) -> None:
    renderer.terminate()
    try:
        renderer.wait(20)
    except subprocess.TimeoutExpired:
        pass
    with suppress(ProcessLookupError):
        os.killpg(renderer.pid, signal.SIGKILL)
    renderer.wait()


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

    def where(self) -> str:
        """Returns where the process is, innermost first, in a few words."""
        os.kill(self.pid, signal.SIGUSR2)
        time.sleep(0.5)
        told = (self.folder / WHERE).read_text() if (self.folder / WHERE).exists() else ""
        frames = re.findall(r'File ".*?([^/"]+)", line (\d+) in (\S+)', told)
        return " < ".join(f"{name} {file}:{line}" for file, line, name in frames[:4])

    def gone(self, why: str) -> dict[str, Any]:
        """Returns the result of a trial that has no other."""
        if self.part in (BUILD, ALONE):
            large = f" ({TOO_LARGE})" if self.is_late else ""
            return {"built": False, "why": f"{why} in the {self.part}{large}"}
        return {"built": True, "hung": f"{why} in the {self.part}"}

    def end(self) -> None:
        """Ends the process, and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)
        shutil.rmtree(self.folder, ignore_errors=True)


def results(
    architectures: Iterator[Architecture], renderer: Path, jobs: int
) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yields name, result and seconds of each trial, as they end.

    One that hangs is tried a second time: the machine may have been busy.
    """
    running: dict[int, tuple[Running, float]] = {}
    asked_again: set[str] = set()
    waiting = architectures
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
                result = trial.gone(f"no end within {SECONDS:.0f} s, at {trial.where()},")
            if result is None:
                continue
            del running[pipe]
            trial.end()
            if "hung" in result and trial.architecture.name not in asked_again:
                asked_again.add(trial.architecture.name)
                waiting = chain([trial.architecture], waiting)
            else:
                yield trial.architecture.name, result, time.monotonic() - since


def start(architecture: Architecture, renderer: Path) -> Running:
    """Forks a process for this trial."""
    reading, writing = os.pipe()
    folder = Path(tempfile.mkdtemp(dir=renderer.parents[1]))
    gc.freeze()  # what is loaded by now is not looked through, and so not copied, in each process
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
        faulthandler.register(signal.SIGUSR2, (trial.folder / WHERE).open("w"), all_threads=False)
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
