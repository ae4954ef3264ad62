"""Faults injected into a training while it runs, chosen at random."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaoslib.disk import Disk, FileSizeLimit
from chaoslib.processes import Process, marked, send_signal

CHILDREN = ("worker", "recorder")
PAUSABLE = (*CHILDREN, "supervisor")
MOST_IN_A_ROW = 3
"""Recorders killed without anything written in between."""
FAULT_WEIGHTS = {"kill": 5, "pause": 2, "slow": 1, "full disk": 1}


class FaultInjector:
    """Injects faults into the renderer of the training with this mark, and counts them."""

    def __init__(self, rng: random.Random, mark: str, disk: Disk | FileSizeLimit) -> None:
        self.counts: Counter[str] = Counter()
        self._random = rng
        self._mark = mark
        self._disk = disk
        self._last_written = 0.0
        self._in_a_row = 0

    def inject(self) -> None:
        """Inject one random fault, from its beginning to its end."""
        [kind] = self._random.choices(list(FAULT_WEIGHTS), list(FAULT_WEIGHTS.values()))
        if kind == "kill":
            self.kill(CHILDREN)
        elif kind == "full disk":
            self.fill_disk()
        else:
            self.pause(kind)

    def kill(self, roles: tuple[str, ...]) -> None:
        """Kill one random process with one of these roles."""
        process = self._one_of(roles)
        if process and not (process.role == "recorder" and self._kills_too_often()):
            send_signal(process, signal.SIGKILL)
            self.counts[f"{process.role} killed"] += 1

    def _kills_too_often(self) -> bool:
        """Returns whether the recorder was killed too often: after five in a row it is given up."""
        summary = self._disk.folder / "logs" / "summary.json"
        written = summary.stat().st_mtime if summary.exists() else 0.0
        if written != self._last_written:
            self._last_written, self._in_a_row = written, 0
        self._in_a_row += 1
        return self._in_a_row > MOST_IN_A_ROW

    def fill_disk(self) -> None:
        """Keep the disk full for a moment."""
        with self._disk.full(self._mark):
            time.sleep(self._random.uniform(0.05, 0.4))
        self.counts["disk full"] += 1

    def pause(self, kind: str) -> None:
        """Stop one process for a while; if "slow", stop workers and recorder repeatedly."""
        if kind == "slow":
            for _ in range(10):
                with self._stopped(*self._all_of(CHILDREN)):
                    time.sleep(0.05)
                time.sleep(0.005)
            self.counts["slowed down"] += 1
        elif process := self._one_of(PAUSABLE):
            with self._stopped(process):
                time.sleep(self._random.uniform(0.05, 0.8))
            self.counts[f"{process.role} paused"] += 1

    @contextmanager
    def _stopped(self, *processes: Process) -> Iterator[None]:
        with ExitStack() as afterwards:
            for process in processes:
                afterwards.callback(send_signal, process, signal.SIGCONT)
                send_signal(process, signal.SIGSTOP)
            yield

    def _one_of(self, roles: tuple[str, ...]) -> Process | None:
        processes = self._all_of(roles)
        return self._random.choice(processes) if processes else None

    def _all_of(self, roles: tuple[str, ...]) -> list[Process]:
        return [process for process in marked(self._mark) if process.role in roles]
