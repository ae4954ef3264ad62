"""Finds the processes of a training by a mark in their environment, and their roles."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "ATTNMON_CHAOS"
"""Name of the environment variable whose value is the mark."""


@dataclass(frozen=True)
class Process:
    """A running process of a training."""

    pid: int
    parent: int
    role: str
    """ "trainer", "supervisor", "worker", "recorder", or "other"."""


def marked(mark: str) -> list[Process]:
    """Returns the running processes with this mark, whatever their parent is now."""
    parents = {pid: parent for pid in _pids() if _has(pid, mark) and (parent := _parent(pid))}
    names = (b"attnmon_renderer", b"attnmon: ")  # at its start, and then
    renderer = {pid for pid in parents if any(name in _read(pid, "cmdline") for name in names)}
    processes = []
    for pid, parent in parents.items():
        if pid not in renderer:
            role = "trainer" if b"chaoslib.training" in _read(pid, "cmdline") else "other"
        elif parent not in renderer:
            role = "supervisor"
        else:
            role = "worker" if _maps_the_ring(pid) else "recorder"
        processes.append(Process(pid, parent, role))
    return processes


def send_signal(process: Process, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def memory(pid: int) -> int:
    """Returns the bytes of memory of a process; shared pages count proportionally."""
    for line in _read(pid, "smaps_rollup").decode().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def descriptors(pid: int) -> int:
    """Returns the number of open file descriptors of a process."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until the condition holds; returns False if it does not in this time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _maps_the_ring(pid: int) -> bool:
    maps = _read(pid, "maps")
    return b"/memfd:attnmon (deleted)" in maps or b"/dev/shm/psm_" in maps


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _has(pid: int, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in _read(pid, "environ").split(b"\0")


def _parent(pid: int) -> int:
    """Returns the parent's id; 0 if the process has ended."""
    state = _read(pid, "stat").rpartition(b") ")[2].split()
    return int(state[1]) if state and state[0] != b"Z" else 0


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
