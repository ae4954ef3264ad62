"""Whether drawing competes with the training for processors, as far as is known: no I/O.

                  ┌──────── a probe found a core ◀───────┐
                  ▼                                      │
    UNKNOWN ──▶ SPARE ── a worker hardly runs ──▶ STARVED ──┐ the next probe
       └──────── a probe found none ────────────▶    ▲──────┘

SPARE: workers run at idle priority and take what nobody else wants. STARVED: there nothing would
ever be drawn. One worker draws in short bursts, and what it takes counts as the training's time.
"""

import time
from collections.abc import Callable
from enum import Enum, auto

ENOUGH = 0.2
"""The share of a core, left over, with which a worker gets on at idle priority."""
FIRST_PAUSE_SECONDS = 10.0
"""From one probe to the next; twice as long whenever a core that was found is gone again."""
LONGEST_PAUSE_SECONDS = 300.0


class Supply(Enum):
    """What is known of the processor time that is left over."""

    UNKNOWN = auto()
    SPARE = auto()
    STARVED = auto()


class Competition:
    """What is known, and when to find out more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.supply = Supply.UNKNOWN
        self._clock = clock
        self._pause = FIRST_PAUSE_SECONDS
        self._last_answer = -LONGEST_PAUSE_SECONDS

    @property
    def is_starved(self) -> bool:
        return self.supply is Supply.STARVED

    def wants_probe(self) -> bool:
        """Return whether it is time to look for a free core."""
        if self.supply is Supply.SPARE:
            return False
        return self.supply is Supply.UNKNOWN or self._clock() - self._last_answer >= self._pause

    def take_answer(self, left_over: float) -> None:
        """Judge by the share of a core that a probe got."""
        self._last_answer = self._clock()
        self.supply = Supply.SPARE if left_over >= ENOUGH else Supply.STARVED

    def take_starvation(self) -> None:
        """Note that a worker at idle priority hardly runs."""
        self._last_answer = self._clock()
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self.supply = Supply.STARVED
