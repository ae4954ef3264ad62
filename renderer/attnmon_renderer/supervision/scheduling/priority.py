"""What keeps the renderer out of the training's way: low priorities and ignored signals.

A process without privileges can only lower its priority. So every process starts at the normal
one, and a worker is lowered after its first capture.
"""

import contextlib
import os
import signal
from collections.abc import Collection

BURST_NICE = 10
"""On a busy core it draws a picture within seconds, mostly in the training's own short pauses."""
_IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE")


def yield_to_training(pid: int = 0) -> str:
    """Give a process the lowest priority that the system grants, and return that one's name.

    "idle", "nice 19" or "normal". 0 is this process.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        return "idle"
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, 19)
        return "nice 19"
    return "normal"


def lower_to_bursts(pid: int) -> None:
    """Give a process the priority of short bursts, where the system allows it."""
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, pid) < BURST_NICE:
            os.setpriority(os.PRIO_PROCESS, pid, BURST_NICE)


def set_affinity(cpus: Collection[int]) -> None:
    """Run on these processors only, where the system allows it; on all, if none is given."""
    if cpus:
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setaffinity(0, cpus)


def ignore_signals() -> None:
    """Ignore Ctrl-C and a job scheduler's warnings, which are meant for the training.

    The renderer ends when its channel closes, after it has finished what was announced.
    """
    for name in _IGNORED_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
