"""`attnmon doctor`: checks what this machine offers to a monitor.

A check tries one thing and yields findings. If it raises, `examine` makes a failure of that.
"""

from collections.abc import Callable, Iterator

from attnmon_renderer.doctor import machine, software
from attnmon_renderer.doctor.finding import Finding

CHECKS: dict[str, Callable[[str], Iterator[Finding]]] = {
    "system": machine.check_system,
    "packages": software.check_packages,
    "shared memory": machine.check_ring,
    "memory": machine.check_memory,
    "priority": machine.check_priority,
    "sockets": machine.check_sockets,
    "forks": software.check_forks,
    "attention": software.check_torch,
    "fonts": software.check_fonts,
    "renderer": software.check_trial_capture,
}
"""By topic; a check receives its topic, which its findings carry."""


def examine() -> Iterator[Finding]:
    """Yields the findings of all checks; a check can take some seconds."""
    for topic, check in CHECKS.items():
        try:
            yield from check(topic)
        except Exception as error:
            yield Finding(topic, "fail", f"{type(error).__name__}: {error}")


__all__ = ["CHECKS", "Finding", "examine"]
