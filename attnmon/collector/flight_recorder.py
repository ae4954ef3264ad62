"""Retains the steps between the due ones, to be drawn if training breaks.

Only what the model's own forward shows, or what was given with `record`, is retained. An extra
forward at every step would cost more than a copy.
"""

from functools import partial
from typing import Any

from torch import nn

from attnmon.collector.collector import Collector
from attnmon.config.settings import Settings
from attnmon.serialize.step_info import StepInfo
from attnmon.session.session import Session

MISSES_BEFORE_WARNING = 3
"""How many of the first steps may show nothing before that is taken for a mistake."""


class FlightRecorder:
    """Retains the last `keep_last` steps; not enabled where that is 0."""

    def __init__(self, settings: Settings, session: Session, collector: Collector) -> None:
        self.enabled = settings.keep_last > 0
        self.uses_blocks = False
        """Whether the user has opened a block for the forward of this step (`capture`)."""
        self._session = session
        self._guard = session.guard
        self._counters = session.counters
        self._collector = collector
        self._can_watch = True
        self._misses: int | None = 0
        """Steps without a capture since the beginning; None once there was one."""
        self._accounted = 0.0

    def retain(self, step_info: StepInfo, model: nn.Module | None, enc: Any, dec: Any) -> None:
        """Retain this step, if anything of it was seen; warn when nothing ever is."""
        collect = partial(self._collector.collect, model, enc, dec, retained=True)
        if self._session.retain(step_info, collect):
            self._misses = None
        elif self._misses is not None:
            self._misses += 1
            if self._misses == MISSES_BEFORE_WARNING and self._can_watch:
                self._guard.warn_once("keep_last", _NOTHING_SEEN)

    def arm(self, model: nn.Module | None) -> None:
        """Watch the model's next forward, which is of a step to be retained."""
        uses_blocks, self.uses_blocks = self.uses_blocks, False
        if uses_blocks or not self._can_watch:
            self._collector.watch.disarm()
            return
        with self._counters.timed():
            self._collector.watch.arm(model, retained=True)
        if model is not None and not self._collector.watch.armed:
            self._can_watch = False  # nor at any later step: do not try again at every one
            self._guard.warn_once("keep_last", _CANNOT_WATCH)

    def account_time(self, *, due: bool) -> None:
        """Count the time since the last call as retention's, unless the step was due.

        `max_overhead` bounds what due steps cost; `keep_last` is a cost that the user has chosen.
        """
        spent = self._counters.hook_seconds
        if self.enabled and not due:
            self._counters.retained_seconds += spent - self._accounted
        self._accounted = spent

    def dump(self, reason: str) -> None:
        """Have the retained steps drawn; warn where there are none because it is not enabled."""
        if self.enabled:
            self._session.dump(reason)
        else:
            self._guard.warn_once("dump", _NOT_ENABLED.format(reason))


_NOTHING_SEEN = (
    "keep_last: nothing was seen of the first steps, so nothing is kept. A step is kept if the "
    "model's own forward, with gradients, was that of the very tensors that are logged: log what "
    "the model was given, once after each forward. Steps that are due are captured all the same."
)
_CANNOT_WATCH = (
    "keep_last is off: it looks on at the model's own forward, which cannot be done with "
    "capture='probe', where compiled code runs, or beside a frozen nn.TransformerEncoder; and an "
    "extra forward at every step would cost too much. Steps that are due are captured all the "
    "same, and what is given to monitor.record(...) at every step is kept."
)
_NOT_ENABLED = (
    "dump({!r:.80}) finds nothing that could be drawn: no steps are kept. Make the monitor with "
    "keep_last=20, say."
)
