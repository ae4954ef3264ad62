"""What befalls a training while it runs: one fault after another, chosen by chance."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaoslib.disk import Disk, Limit
from chaoslib.processes import Process, marked, signal_to

CHILDREN = ("worker", "recorder")
PAUSED = (*CHILDREN, "supervisor")
MOST_IN_A_ROW = 3
WEIGHTS = {"kill": 5, "pause": 2, "slow": 1, "full disk": 1}


class Nemesis:
    """Applies faults to the renderer of the training with this mark; counts them."""

    def __init__(self, chance: random.Random, mark: str, disk: Disk | Limit) -> None:
        self.done: Counter[str] = Counter()
        self._chance = chance
        self._mark = mark
        self._disk = disk
        self._last_written = 0.0
        self._in_a_row = 0

    def strike(self) -> None:
        """One fault, from its beginning to its end."""
        [kind] = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if kind == "kill":
            self.kill(CHILDREN)
        elif kind == "full disk":
            self.fill_disk()
        else:
            self.pause(kind)

    def kill(self, roles: tuple[str, ...]) -> None:
        victim = self._one_of(roles)
        if victim and not (victim.role == "recorder" and self._is_in_a_loop()):
            signal_to(victim, signal.SIGKILL)
            self.done[f"{victim.role} killed"] += 1

    def _is_in_a_loop(self) -> bool:
        """Five recorders killed in a row, and nothing is written any more: that is another test."""
        summary = self._disk.folder / "logs" / "summary.json"
        written = summary.stat().st_mtime if summary.exists() else 0.0
        if written != self._last_written:
            self._last_written, self._in_a_row = written, 0
        self._in_a_row += 1
        return self._in_a_row > MOST_IN_A_ROW

    def fill_disk(self) -> None:
        with self._disk.full(self._mark):
            time.sleep(self._chance.uniform(0.05, 0.4))
        self.done["disk full"] += 1

    def pause(self, kind: str) -> None:
        """Stop one process for a while, or all that draw and write again and again."""
        if kind == "slow":
            for _ in range(10):
                with self._stopped(*self._all_of(CHILDREN)):
                    time.sleep(0.05)
                time.sleep(0.005)
            self.done["slowed down"] += 1
        elif victim := self._one_of(PAUSED):
            with self._stopped(victim):
                time.sleep(self._chance.uniform(0.05, 0.8))
            self.done[f"{victim.role} paused"] += 1

    @contextmanager
    def _stopped(self, *processes: Process) -> Iterator[None]:
        with ExitStack() as afterwards:
            for process in processes:
                afterwards.callback(signal_to, process, signal.SIGCONT)
                signal_to(process, signal.SIGSTOP)
            yield

    def _one_of(self, roles: tuple[str, ...]) -> Process | None:
        found = self._all_of(roles)
        return self._chance.choice(found) if found else None

    def _all_of(self, roles: tuple[str, ...]) -> list[Process]:
        return [process for process in marked(self._mark) if process.role in roles]
