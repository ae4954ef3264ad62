"""The counters of the training process, and the clock of what the monitor takes from it."""

import time
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from attnmon.link.records.training_accounts import Accounts

WEIGHT_OF_THE_LATEST = 0.3
"""In the running mean of what drawing a capture takes."""


@dataclass(slots=True)
class Counters(Accounts):
    """The accounts while they are kept, with what the renderer has acknowledged.

    A field that is added to `Accounts` is counted here, and sent with every message.
    """

    rendered: int = 0
    """Captures that the renderer has drawn."""
    failed_in_renderer: int = 0
    """Captures that failed after they were announced."""
    drawing_each: float = 0.0
    """Seconds that drawing a capture takes from the training at present; 0 where a core is free."""

    def add_competed(self, seconds: float) -> None:
        """Count what drawing one more capture has taken from the training."""
        self.competed_seconds += seconds
        weight = WEIGHT_OF_THE_LATEST if self.drawing_each else 1.0
        self.drawing_each += weight * (seconds - self.drawing_each)

    def timed(self) -> "_Timed":
        """Return a context that counts its duration as time taken from the training, once."""
        return _Timed(self)

    def as_message(self, backlog: int) -> Accounts:
        """Return a copy to send; `backlog` captures are announced and not acknowledged yet."""
        self.backlog = backlog
        return Accounts(*_sent(self))

    def all_figures(self) -> dict[str, Any]:
        """Return the figures that `close()` returns, as known in this process."""
        return self.figures(self.rendered, self.failed_in_renderer)


_sent = attrgetter(*(field.name for field in fields(Accounts)))


class _Timed:
    """A class, and not a generator, since it stands around every layer of a capture."""

    __slots__ = ("_before", "_counters", "_started")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def __enter__(self) -> None:
        self._before = self._counters.hook_seconds
        self._started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        # From the value before: a nested block has counted a part of this time already.
        self._counters.hook_seconds = self._before + time.perf_counter() - self._started
