"""What this machine offers to a monitor: each check tries one thing, and says what follows.

A check yields what it found; what it cannot do it raises, and `examine` makes a failure of it.
"""

from collections.abc import Callable, Iterator

from attnmon_renderer.doctor import machine, software
from attnmon_renderer.doctor.finding import Finding

CHECKS: dict[str, Callable[[str], Iterator[Finding]]] = {
    "system": machine.system,
    "packages": software.packages,
    "shared memory": machine.ring,
    "memory": machine.memory,
    "priority": machine.priority,
    "sockets": machine.sockets,
    "forks": software.forks,
    "attention": software.torch,
    "renderer": software.trial,
}


def examine() -> Iterator[Finding]:
    """Every check in turn; each takes up to some seconds."""
    for topic, check in CHECKS.items():
        try:
            yield from check(topic)
        except Exception as error:
            yield Finding(topic, "fail", f"{type(error).__name__}: {error}")


__all__ = ["CHECKS", "Finding", "examine"]
