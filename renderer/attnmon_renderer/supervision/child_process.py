"""The supervisor's child processes: how they are forked, checked and reaped.

The supervisor has loaded nothing but the standard library and msgpack when it forks, and has one
thread, so a fork is cheap and safe. When a child dies, its channel closes.
"""

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Literal

from attnmon.link import descriptors
from attnmon.link.channel import Channel

IDLE_LIMIT_SECONDS = 60.0
"""A child with a task hangs when it neither uses the processor nor waits for it, or for the disk,
for so long."""
CPU_LIMIT_SECONDS = 600.0
"""Processor time that a child may use for any task."""
CPU_LIMIT_PER_WEIGHT = 1e-7
"""Seconds of processor time that it may use besides for each attention weight of the task; one
takes about a tenth of that."""
MOST_TASKS = 1000
"""Tasks after which a child is replaced, so that small leaks of libraries do not add up."""
MOST_GROWTH = 256 << 20
"""Bytes of memory, beyond those after its first task, at which a child is replaced. A child keeps
a large capture's working memory, which is less than this for all but the longest sequences."""
MOST_DESCRIPTORS = 1 << 20
"""Where the system does not list those that are open, all below are closed."""
_WAITING_STATES = ("R", "D")
"""Waiting for the processor, and for the disk."""
LATE_SECONDS = 4.0
LEAST_SHARE = 0.1
"""A child is starved that got less than this share of a core in the first so many seconds."""

Level = Literal["normal", "bursts", "idle"]
"""The priority of a child; one of them cannot be raised again."""


class Child:
    """A child process, the channel to it and the task it has."""

    def __init__(self, role: str, pid: int, channel: Channel) -> None:
        self.role = role
        self.pid = pid
        self.channel = channel
        self.level: Level = "normal"
        self.task: int | None = None
        """Number of the capture that it works on; None when it is free."""
        self.completed = 0
        """Tasks finished so far."""
        self.is_outdated = False
        """Whether it is to be replaced at the next opportunity."""
        self.exit_code: int | None = None
        """Known once it is reaped."""
        self._first_resident_bytes = 0
        self._cpu_at_start = 0.0
        self._cpu_limit = CPU_LIMIT_SECONDS
        self._last_cpu = 0.0
        self._last_progress = self._assigned = time.monotonic()

    def assign(self, task: int, weight_count: int = 0) -> None:
        """Note that it works on a task, of so many attention weights, from now on."""
        self.task = task
        self._cpu_limit = CPU_LIMIT_SECONDS + weight_count * CPU_LIMIT_PER_WEIGHT
        self._cpu_at_start = self._last_cpu = cpu_seconds(self.pid)
        self._last_progress = self._assigned = time.monotonic()

    def finish(self) -> None:
        """Note that its task is finished."""
        self.task = None
        self.completed += 1
        if self.completed == 1:
            self._first_resident_bytes = resident_bytes(self.pid)

    def needs_replacement(self) -> bool:
        """Return whether a fresh child should replace it, so that memory stays bounded."""
        grown = resident_bytes(self.pid) - self._first_resident_bytes
        return self.is_outdated or self.completed >= MOST_TASKS or grown > MOST_GROWTH

    def is_hung(self) -> bool:
        """Return whether it has a task and does not get on with it.

        Processor time decides, not the clock: at idle priority on a busy machine a healthy child
        may be runnable for minutes without running. One that waits for the disk is left alone:
        SIGKILL would not end it before the disk answers, and the next would wait for it as well.
        """
        if self.task is None:
            return False
        cpu = cpu_seconds(self.pid)
        if cpu > self._last_cpu or process_state(self.pid) in _WAITING_STATES:
            self._last_cpu = cpu
            self._last_progress = time.monotonic()
        if cpu - self._cpu_at_start > self._cpu_limit:
            return True
        return time.monotonic() - self._last_progress > IDLE_LIMIT_SECONDS

    def is_starved(self) -> bool:
        """Return whether it has a task and hardly gets any processor time, which it waits for.

        The system's figure of how long it waited would not do: that is added up when it runs next.
        """
        waited = time.monotonic() - self._assigned
        if self.task is None or waited < LATE_SECONDS or not _stat_fields(self.pid):
            return False
        return process_state(self.pid) == "R" and self.task_seconds() < LEAST_SHARE * waited

    def task_seconds(self) -> float:
        """Return the processor time that its task has taken so far; 0 if it has none."""
        return 0.0 if self.task is None else cpu_seconds(self.pid) - self._cpu_at_start

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> str:
        """Close its channel, wait for its end and return how it ended, in words."""
        self.kill()
        self.channel.close()
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return f"the {self.role} is gone"
        self.exit_code = code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"the {self.role} was killed by {signal.Signals(-code).name}"
        line = descriptors.last_line(2)  # standard error is a file, for this very purpose
        return f"the {self.role} exited with {code}" + (f" ({line})" if line else "")


def fork(role: str, run: Callable[[Channel], None], keep_open: set[int]) -> Child:
    """Fork a child that runs `run` with its end of a channel, and then ends.

    It keeps the standard descriptors and `keep_open`, and closes all others. Raises OSError when
    the system has no room for a process.
    """
    ours, theirs = Channel.pair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _run_child(run, theirs, keep_open)
    theirs.close()
    return Child(role, pid, ours)


def _run_child(run: Callable[[Channel], None], channel: Channel, keep_open: set[int]) -> None:
    """Run in the child, and end it there: never return into the supervisor's code."""
    status = 1
    try:
        _close_all_but({0, 1, 2, channel.fileno()} | keep_open)
        _prefer_for_the_oom_killer()
        run(channel)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def cpu_seconds(pid: int) -> float:
    """Return a process's user and system time so far; 0 where the system does not tell."""
    fields = _stat_fields(pid)
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks if fields else 0.0


def process_state(pid: int) -> str:
    """Return "R" for runnable, "S" sleeping, "D" waiting for the disk, "T" stopped, ….

    "R" also where the system does not tell.
    """
    fields = _stat_fields(pid)
    return fields[0] if fields else "R"


def resident_bytes(pid: int) -> int:
    """Return the memory that a process shares with no other; 0 where the system does not tell."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _stat_fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _close_all_but(keep: set[int]) -> None:
    # A death is noticed by the end of a channel. A copy of another child's socket, or of the
    # training process's, would keep that channel open.
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # /proc is not mounted
        for before, after in pairwise([-1, *sorted(keep), MOST_DESCRIPTORS]):
            if before + 1 < after:  # of an empty range Python may close everything
                os.closerange(before + 1, after)
        return
    for number in numbers:
        if number not in keep:
            with contextlib.suppress(OSError):
                os.close(number)


def _prefer_for_the_oom_killer() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")
