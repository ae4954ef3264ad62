"""The steps between the due ones: looked at, too, and kept by the renderer until they are wanted.

Only what the model's own forward shows, or what was given with `record`, is taken. An extra
forward at every step would cost more than a copy.
"""

from functools import partial
from typing import Any

from torch import nn

from attnmon.collector.collector import Collector
from attnmon.config.settings import Settings
from attnmon.serialize.step_info import StepInfo
from attnmon.session.session import Session

STEPS_BEFORE_A_WORD = 3
"""So many steps of which nothing was seen at the beginning are no accident."""


class FlightRecorder:
    """Keeps the last `keep_last` steps; does nothing where that is 0."""

    def __init__(self, chosen: Settings, session: Session, collector: Collector) -> None:
        self.enabled = chosen.keep_last > 0
        self._session = session
        self._guard = session.guard
        self._counters = session.counters
        self._collector = collector
        self.uses_blocks = False
        """Whether the user says himself, by a block, which forward to look at."""
        self._can_look_on = True
        self._missed = 0
        self._accounted = 0.0

    def retain(self, step_info: StepInfo, model: nn.Module | None, enc: Any, dec: Any) -> None:
        """Keep this step, if anything of it was seen."""
        take = partial(self._collector.collect, model, enc, dec, retained=True)
        if self._session.retain(step_info, take):
            self._missed = -1  # it works
        elif self._missed >= 0:
            self._missed += 1
            if self._missed == STEPS_BEFORE_A_WORD and self._can_look_on:
                self._guard.warn_once("keep_last", _NOTHING_SEEN)

    def arm(self, model: nn.Module | None) -> None:
        """At the model's next forward, which is that of a step to be kept."""
        uses_blocks, self.uses_blocks = self.uses_blocks, False
        if uses_blocks or not self._can_look_on:
            self._collector.disarm()
            return
        with self._counters.timed():
            self._collector.arm(model, retained=True)
        if model is not None and not self._collector.armed:
            self._can_look_on = False  # and does not become so: do not ask at every step
            self._guard.warn_once("keep_last", _CANNOT_LOOK_ON)

    def account_time(self, *, due: bool) -> None:
        """At the end of a step: what it took is the budget's business only if it was due."""
        spent = self._counters.hook_seconds
        if not due:
            self._counters.retained_seconds += spent - self._accounted
        self._accounted = spent

    def dump(self, why: str) -> None:
        """Have what is kept drawn."""
        if self.enabled:
            self._session.dump(why)
        else:
            self._guard.warn_once("dump", _NOT_ON.format(why))


_NOTHING_SEEN = (
    "keep_last: nothing was seen of the first steps, so nothing is kept. A step is kept if the "
    "model's own forward, with gradients, was that of the very tensors that are logged: log what "
    "the model was given, once after each forward. Steps that are due are captured all the same."
)
_CANNOT_LOOK_ON = (
    "keep_last is off: it looks on at the model's own forward, which cannot be done with "
    "capture='probe', where compiled code runs, or beside a frozen nn.TransformerEncoder; and an "
    "extra forward at every step would cost too much. Steps that are due are captured all the "
    "same, and what is given to monitor.record(...) at every step is kept."
)
_NOT_ON = (
    "dump({!r:.80}) finds nothing that could be drawn: no steps are kept. Make the monitor with "
    "keep_last=20, say."
)
