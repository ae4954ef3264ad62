"""Finds the processes of a training, by a mark in their environment, and tells them apart."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "ATTNMON_CHAOS"


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    role: str
    """ "trainer", "supervisor", "worker", "recorder", or "other"."""


def marked(mark: str) -> list[Process]:
    """All living processes whose environment has the mark, whoever their parent is by now."""
    parents = {pid: parent for pid in _pids() if _has(pid, mark) and (parent := _parent(pid))}
    renderer = {pid for pid in parents if b"attnmon_renderer" in _read(pid, "cmdline")}
    found = []
    for pid, parent in parents.items():
        if pid not in renderer:
            role = "trainer" if b"chaoslib.training" in _read(pid, "cmdline") else "other"
        elif parent not in renderer:
            role = "supervisor"
        else:
            role = "worker" if _maps_the_ring(pid) else "recorder"
        found.append(Process(pid, parent, role))
    return found


def signal_to(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def memory(pid: int) -> int:
    """Bytes of memory: shared pages count for their share."""
    for line in _read(pid, "smaps_rollup").decode().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def descriptors(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _maps_the_ring(pid: int) -> bool:
    return b"/memfd:attnmon (deleted)" in _read(pid, "maps")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _has(pid: int, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in _read(pid, "environ").split(b"\0")


def _parent(pid: int) -> int:
    """0 when it has ended."""
    state = _read(pid, "stat").rpartition(b") ")[2].split()
    return int(state[1]) if state and state[0] != b"Z" else 0


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
