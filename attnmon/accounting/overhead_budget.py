"""What the monitor may cost: times what it took, and stretches its interval to stay below a limit.

The first capture, which counts the layers, is a one-off: time is reckoned from its end. A span is
judged when `SPAN_SECONDS` of training have passed, or `SPENT_SECONDS` were spent in it, so that
neither a short run nor a single slow moment is answered with fewer captures. Knows neither steps
nor torch.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

SPAN_SECONDS = 30.0
SPENT_SECONDS = 3.0
MOST_AT_ONCE = 10
"""The interval grows at most this many times at once: the clock of one span may be wrong."""
CALM_SPANS = 10
"""After a drop, so many spans without another before it is tried with more captures again."""
ROOM = 0.8
"""Captures become more frequent again when that would take at most this part of the limit."""


@dataclass(frozen=True, slots=True)
class SpanStart:
    """How things stood when a span began."""

    time: float
    spent: float
    dropped: int


class OverheadBudget:
    """Chooses by how much the interval between captures is stretched.

    limit: the share of training time that may be spent; None: whatever it costs.
    """

    def __init__(self, limit: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stretch = 1
        """The interval is this many times what the user asked for."""
        self._limit = limit
        self._clock = clock
        self._first: SpanStart | None = None
        self._span: SpanStart | None = None
        self._calm = CALM_SPANS

    def overhead(self, spent: float) -> float:
        """The share of training time spent since the first capture; 0 before there was one."""
        return 0.0 if self._first is None else _share(self._first, self._clock(), spent)

    def review(self, spent: float, dropped: int) -> bool:
        """After a capture: judge the span, if it is over. Whether `stretch` has changed.

        spent: seconds in all that the monitor took; dropped: captures in all that found no room.
        """
        now = SpanStart(self._clock(), spent, dropped)
        if self._first is None or self._span is None:
            self._first = self._span = now
            return False
        span = self._span
        over = now.time - span.time >= SPAN_SECONDS or spent - span.spent >= SPENT_SECONDS
        if self._limit is None or not over:
            return False
        before, self._span = self.stretch, now
        self._judge(_share(span, now.time, spent), self._limit, dropped > span.dropped)
        return self.stretch != before

    def _judge(self, share: float, limit: float, dropped: bool) -> None:
        """What costs `share` now costs share · stretch / n at n times the interval asked for."""
        self._calm = 0 if dropped else self._calm + 1
        needed = self.stretch * share / limit
        if dropped:
            needed = max(needed, 2 * self.stretch)
        if needed > self.stretch:
            self.stretch = min(math.ceil(needed), MOST_AT_ONCE * self.stretch)
        elif self._calm >= CALM_SPANS:
            self.stretch = min(self.stretch, max(1, math.ceil(needed / ROOM)))


def _share(since: SpanStart, now: float, spent: float) -> float:
    return (spent - since.spent) / max(now - since.time, 1e-9)
