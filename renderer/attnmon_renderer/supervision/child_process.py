"""The supervisor's child processes: how one is forked, looked at and buried.

The supervisor has loaded nothing but the standard library and msgpack when it forks, and has one
thread, so a fork here is cheap and safe. A child that is lost shows as the end of its channel.
"""

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from attnmon.link import descriptors
from attnmon.link.channel import Channel

IDLE_LIMIT_SECONDS = 60.0
"""Without using the processor, while it has a task and waits for neither processor nor disk."""
CPU_LIMIT_SECONDS = 600.0
"""Of processor time on one task, …"""
CPU_LIMIT_PER_WEIGHT = 1e-7
"""… and so much more for each attention weight in it: some ten times what one takes."""
MOST_TASKS = 1000
"""What a library leaks at every task never adds up to more than so many times that."""
MOST_GROWTH = 256 << 20
"""Bytes of memory beyond what it had after its first task: a large capture's working memory is
kept for the next one, and this is more than that of any but the longest sequences."""
_WAITING_STATES = ("R", "D")
"""For the processor, and for the disk."""


class Child:
    """A running child: its process id, its channel and what it is at work on."""

    def __init__(self, role: str, pid: int, channel: Channel) -> None:
        self.role = role
        self.pid = pid
        self.channel = channel
        self.task: int | None = None
        self.completed = 0
        self.outdated = False
        """Another is to follow it, whatever its state."""
        self.exit_code: int | None = None
        """Once it is buried."""
        self._first_resident_bytes = 0
        self._cpu_at_start = 0.0
        self._cpu_limit = CPU_LIMIT_SECONDS
        self._last_cpu = 0.0
        self._last_progress = time.monotonic()

    def assign(self, task: int, weight_count: int = 0) -> None:
        self.task = task
        self._cpu_limit = CPU_LIMIT_SECONDS + weight_count * CPU_LIMIT_PER_WEIGHT
        self._cpu_at_start = self._last_cpu = cpu_seconds(self.pid)
        self._last_progress = time.monotonic()

    def finish(self) -> None:
        self.task = None
        self.completed += 1
        if self.completed == 1:
            self._first_resident_bytes = resident_bytes(self.pid)

    def needs_replacement(self) -> bool:
        """Whether it should be followed by a fresh one, so that its memory stays bounded."""
        grown = resident_bytes(self.pid) - self._first_resident_bytes
        return self.outdated or self.completed >= MOST_TASKS or grown > MOST_GROWTH

    def is_hung(self) -> bool:
        """Whether it has a task and does not get on with it.

        Judged by processor time, not by the clock: at idle priority on a busy machine a healthy
        child may wait for minutes, and then it is runnable. One that waits for the disk would not
        die of SIGKILL before the disk answers, and the next one would wait for the same disk.
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

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> str:
        """Wait for the end of a child whose channel is closed; how it ended, in words."""
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
    """A child that runs `run` with its end of a channel and then ends.

    Of the open descriptors it keeps the standard ones and `keep_open`. Raises OSError when the
    system has no room for a process.
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
    """In the child: run, and never return into the supervisor's code."""
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
    """User and system time of a process so far; 0 where the system does not tell."""
    fields = _stat_fields(pid)
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks if fields else 0.0


def process_state(pid: int) -> str:
    """ "R" runnable, "S" sleeping, "D" in the disk, "T" stopped, …; "R" where it is not known."""
    fields = _stat_fields(pid)
    return fields[0] if fields else "R"


def resident_bytes(pid: int) -> int:
    """Memory of its own that a process has at present; 0 where the system does not tell."""
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
    # A copy of another child's or of the training process's socket would keep it open, and the
    # end of a channel is how a death is noticed.
    for name in os.listdir("/dev/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _prefer_for_the_oom_killer() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")
