"""Everything that is counted in the training process, and the clock of what is taken from it."""

import time
from dataclasses import dataclass

from attnmon.link.messages import Accounts


@dataclass
class Counters:
    """Everything that is counted in the training process."""

    steps: int = 0
    captured: int = 0
    rendered: int = 0
    dropped: int = 0
    failed: int = 0
    """Before or after they were announced."""
    failed_here: int = 0
    """Of these, before."""
    error: str = ""
    """The latest of those."""
    hook_seconds: float = 0.0
    retained_seconds: float = 0.0
    """Of these, for steps that were not due."""
    last_step: int | None = None
    interval: int = 0
    stretched: int = 0
    overhead: float = 0.0

    def timed(self) -> "_Timed":
        """Count what happens inside as time that the monitor took from the training, once."""
        return _Timed(self)

    def as_message(self, backlog: int) -> Accounts:
        return Accounts(
            captured=self.captured,
            dropped=self.dropped,
            failed=self.failed_here,
            error=self.error,
            hook_seconds=self.hook_seconds,
            steps=self.steps,
            last_step=self.last_step,
            interval=self.interval,
            stretched=self.stretched,
            overhead=self.overhead,
            backlog=backlog,
            retained_seconds=self.retained_seconds,
        )


class _Timed:
    """A class, and not a generator, since it stands around every layer of a capture."""

    __slots__ = ("_before", "_counters", "_started")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def __enter__(self) -> None:
        self._before = self._counters.hook_seconds
        self._started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        # From before: what was counted inside, in a block of its own, is in this time as well.
        self._counters.hook_seconds = self._before + time.perf_counter() - self._started
