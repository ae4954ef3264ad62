"""One training from beginning to end, killed and resumed on the way, and what it showed."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaoslib import checks
from chaoslib.checks import Ended
from chaoslib.disk import Disk, Limit
from chaoslib.faults import CHILDREN, Nemesis
from chaoslib.processes import MARK, marked, signal_to, wait_until

SCRIPTS = Path(__file__).parents[1]
TRAINING = [sys.executable, "-m", "chaoslib.training"]
PATIENCE = 100.0
"""Seconds within which a training begins, and a renderer ends after it."""


@dataclass
class Plan:
    """steps, every and pause are the training's; the others say what befalls it."""

    steps: int = 160
    every: int = 3
    pause: float = 0.01
    trainer_kills: int = 0
    kills: int = 0
    """Of workers and of the recorder, in each training."""
    supervisor_killed: bool = False
    """In the last training of the round."""
    faults_a_second: float = 2.0

    @property
    def usual_seconds(self) -> float:
        return self.steps * self.pause * 2


@dataclass
class Round:
    """Runs a plan in `folder`, with its pictures on `disk`, and collects what is violated."""

    plan: Plan
    folder: Path
    disk: Disk | Limit
    expected: Path
    """Of the same training without a monitor."""
    chance: random.Random
    violations: list[str] = field(default_factory=list)
    trainings: int = 0

    def __post_init__(self) -> None:
        self.folder.joinpath("tmp").mkdir(parents=True)
        self.mark = f"{os.getpid()}.{self.folder.name}"
        self.save_dir = self.disk.folder / "logs"
        self.nemesis = Nemesis(self.chance, self.mark, self.disk)

    def run(self) -> None:
        """Train to the end; a training that was killed is followed by one that goes on."""
        for left in range(self.plan.trainer_kills, -1, -1):
            first_line = len(checks.history(self.save_dir))
            with tempfile.TemporaryFile("w+") as said:
                process = self._start(said.fileno())
                self._disturb(process, last=left == 0)
                code = self._end_of(process)
                said.seek(0)
                ended = Ended(process.pid, code, said.read(), first_line)
            self.nemesis.done["training killed"] += ended.was_killed
            self._check(ended)
            if not ended.was_killed:
                return

    def _start(self, said: int) -> "subprocess.Popen[bytes]":
        self.trainings += 1
        plan = self.plan
        command = [*TRAINING, str(self.folder), "--save-dir", str(self.save_dir)]
        command += ["--steps", str(plan.steps), "--every", str(plan.every)]
        return subprocess.Popen(
            [*command, "--pause", str(plan.pause)],
            cwd=SCRIPTS,
            env=os.environ | {MARK: self.mark, "TMPDIR": str(self.folder / "tmp")},
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip

    def _disturb(self, process: "subprocess.Popen[bytes]", *, last: bool) -> None:
        """Until it has ended, or for a while from its first step on, if it is to be killed."""
        before = len(checks.progress(self.folder))
        wait_until(lambda: self._is_past(before) or process.poll() is not None, PATIENCE)
        while_running = last and not self.plan.supervisor_killed
        seconds = PATIENCE + self.plan.usual_seconds * 2
        if not while_running:
            seconds = self.chance.uniform(0, self.plan.usual_seconds)
        self._strike(process, time.monotonic() + seconds)
        if not last:
            process.kill()
        elif self.plan.supervisor_killed:
            self.nemesis.kill(("supervisor",))

    def _is_past(self, step: int) -> bool:
        return len(checks.progress(self.folder)) > step

    def _strike(self, process: "subprocess.Popen[bytes]", end: float) -> None:
        kills = self.plan.kills
        while process.poll() is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(self.chance.expovariate(self.plan.faults_a_second), left))
            if kills > 0 and self.chance.random() < 0.5:
                self.nemesis.kill(CHILDREN)
                kills -= 1
            else:
                self.nemesis.strike()

    def _end_of(self, process: "subprocess.Popen[bytes]") -> int | None:
        """Its exit code, once its renderer has ended too; what does not end is a violation."""
        wait_until(lambda: process.poll() is not None, PATIENCE)
        if not wait_until(lambda: not marked(self.mark), PATIENCE):
            left = [f"{found.role} {found.pid}" for found in marked(self.mark)]
            self.violations.append(f"still running: {', '.join(left)}")
            for found in marked(self.mark):
                signal_to(found, signal.SIGKILL)
        return process.wait()

    def _check(self, ended: Ended) -> None:
        for violation in self._violations(ended):
            self.violations.append(f"{self.folder.name}, training {self.trainings}: {violation}")

    def _violations(self, ended: Ended) -> Iterator[str]:
        yield from checks.ending(ended, self.folder, self.expected)
        if not self.nemesis.done["supervisor killed"]:
            yield from checks.renderer(ended, self.folder, self.save_dir)
        yield from checks.files(self.save_dir)
        yield from checks.left_behind(self.folder / "tmp")


def expected_at(folder: Path, plan: Plan) -> Path:
    """The training without a monitor, which all others are compared with."""
    folder.mkdir()
    command = [*TRAINING, str(folder), "--steps", str(plan.steps)]
    subprocess.run(command, check=False, cwd=SCRIPTS)
    if not (folder / "result.json").exists():
        raise SystemExit("the training does not even run without a monitor")
    return folder
