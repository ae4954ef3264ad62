"""Never in the training's way: idle scheduling, and deaf to signals meant for the training.

On a machine whose cores the training keeps busy, the renderer's processor time is what the
monitor costs. Under SCHED_IDLE it gets only what nobody else wants.
"""

import contextlib
import os
import signal
from collections.abc import Collection

_IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE")


def yield_to_training() -> str:
    """Take the lowest priority the system grants; says which: "idle", "nice 19" or "normal"."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return "idle"
    with contextlib.suppress(OSError):
        os.nice(19)
        return "nice 19"
    return "normal"


def set_affinity(cpus: Collection[int]) -> None:
    """Run on these processors only, where the system lets us; on all, when none is named."""
    if cpus:
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setaffinity(0, cpus)


def ignore_signals() -> None:
    """Ctrl-C and a job scheduler's warnings are for the training.

    The renderer's only stop signal is the end of its channel: it first finishes what was
    announced.
    """
    for name in _IGNORED_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
