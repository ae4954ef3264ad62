"""What keeps the renderer out of the training's way: idle scheduling and ignored signals.

On a machine whose cores the training keeps busy, the renderer's processor time is what the
monitor costs. Under SCHED_IDLE it gets only what nobody else wants.
"""

import contextlib
import os
import signal
from collections.abc import Collection

_IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE")


def yield_to_training() -> str:
    """Take the lowest priority that the system grants, and return its name.

    "idle", "nice 19" or "normal".
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return "idle"
    with contextlib.suppress(OSError):
        os.nice(19)
        return "nice 19"
    return "normal"


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
