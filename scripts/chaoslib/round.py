"""One round: a training that is disturbed, killed and resumed until its end, and then checked."""

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
from chaoslib.disk import Disk, FileSizeLimit
from chaoslib.faults import CHILDREN, FaultInjector
from chaoslib.processes import MARK, marked, send_signal, wait_until

SCRIPTS = Path(__file__).parents[1]
TRAINING = [sys.executable, "-m", "chaoslib.training"]
PATIENCE = 100.0
"""Seconds in which a training must start, and in which its renderer must end after it."""


@dataclass
class Plan:
    """The training of a round, and the faults that are injected into it."""

    steps: int = 160
    every: int = 3
    """A capture every so many steps."""
    pause: float = 0.01
    """Seconds after each step."""
    trainer_kills: int = 0
    """How often the training is killed and resumed."""
    kills: int = 0
    """How often workers and recorder are killed, at most, in each training."""
    supervisor_killed: bool = False
    """Whether the supervisor is killed in the last training."""
    faults_per_second: float = 2.0

    @property
    def usual_seconds(self) -> float:
        """Rough duration of a training without faults."""
        return self.steps * self.pause * 2


@dataclass
class Round:
    """Runs a plan in `folder` and collects the violations that it finds."""

    plan: Plan
    folder: Path
    disk: Disk | FileSizeLimit
    """Where the monitor writes."""
    expected: Path
    """Folder of the same training without a monitor."""
    rng: random.Random
    violations: list[str] = field(default_factory=list)
    trainings: int = 0

    def __post_init__(self) -> None:
        self.folder.joinpath("tmp").mkdir(parents=True)
        self.mark = f"{os.getpid()}.{self.folder.name}"
        self.save_dir = self.disk.folder / "logs"
        self.injector = FaultInjector(self.rng, self.mark, self.disk)

    def run(self) -> None:
        """Train to the end; after a kill, a new training resumes from the checkpoint."""
        for left in range(self.plan.trainer_kills, -1, -1):
            first_line = len(checks.history(self.save_dir))
            with tempfile.TemporaryFile("w+") as output:
                process = self._start(output.fileno())
                self._disturb(process, last=left == 0)
                code = self._wait_for_end(process)
                output.seek(0)
                ended = Ended(process.pid, code, output.read(), first_line)
            self.injector.counts["training killed"] += ended.was_killed
            self._check(ended)
            if not ended.was_killed:
                return

    def _start(self, output: int) -> "subprocess.Popen[bytes]":
        self.trainings += 1
        plan = self.plan
        command = [*TRAINING, str(self.folder), "--save-dir", str(self.save_dir)]
        command += ["--steps", str(plan.steps), "--every", str(plan.every)]
        return subprocess.Popen(
            [*command, "--pause", str(plan.pause)],
            cwd=SCRIPTS,
            env=os.environ | {MARK: self.mark, "TMPDIR": str(self.folder / "tmp")},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip

    def _disturb(self, process: "subprocess.Popen[bytes]", *, last: bool) -> None:
        """Inject faults until the training ends, or for a random time if it is to be killed."""
        before = len(checks.progress(self.folder))
        wait_until(lambda: self._is_past(before) or process.poll() is not None, PATIENCE)
        while_running = last and not self.plan.supervisor_killed
        seconds = PATIENCE + self.plan.usual_seconds * 2
        if not while_running:
            seconds = self.rng.uniform(0, self.plan.usual_seconds)
        self._inject_faults(process, time.monotonic() + seconds)
        if not last:
            process.kill()
        elif self.plan.supervisor_killed:
            self.injector.kill(("supervisor",))

    def _is_past(self, step: int) -> bool:
        return len(checks.progress(self.folder)) > step

    def _inject_faults(self, process: "subprocess.Popen[bytes]", end: float) -> None:
        kills = self.plan.kills
        while process.poll() is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(self.rng.expovariate(self.plan.faults_per_second), left))
            if kills > 0 and self.rng.random() < 0.5:
                self.injector.kill(CHILDREN)
                kills -= 1
            else:
                self.injector.inject()

    def _wait_for_end(self, process: "subprocess.Popen[bytes]") -> int | None:
        """Wait for the training and its renderer to end; returns the training's exit code.

        A process that does not end is a violation, and is killed.
        """
        wait_until(lambda: process.poll() is not None, PATIENCE)
        if not wait_until(lambda: not marked(self.mark), PATIENCE):
            left = [f"{found.role} {found.pid}" for found in marked(self.mark)]
            self.violations.append(f"still running: {', '.join(left)}")
            for found in marked(self.mark):
                send_signal(found, signal.SIGKILL)
        return process.wait()

    def _check(self, ended: Ended) -> None:
        for violation in self._violations(ended):
            self.violations.append(f"{self.folder.name}, training {self.trainings}: {violation}")

    def _violations(self, ended: Ended) -> Iterator[str]:
        yield from checks.ending(ended, self.folder, self.expected)
        if not self.injector.counts["supervisor killed"]:
            yield from checks.renderer(ended, self.folder, self.save_dir)
        yield from checks.files(self.save_dir)
        yield from checks.left_behind(self.folder / "tmp")


def expected_at(folder: Path, plan: Plan) -> Path:
    """Run the training without a monitor, to compare with; returns its folder."""
    folder.mkdir()
    command = [*TRAINING, str(folder), "--steps", str(plan.steps)]
    subprocess.run(command, check=False, cwd=SCRIPTS)
    if not (folder / "result.json").exists():
        raise SystemExit("the training does not even run without a monitor")
    return folder
