"""Chooses the interval between captures so that the monitor's share of the time stays in bounds.

The first capture, which finds the layers, happens once: time is counted from its end. A span is
judged when `SPAN_SECONDS` of training have passed, or `SPENT_SECONDS` were spent in it, so that
neither a short run nor a single slow moment leads to fewer captures. Depends neither on steps nor
on torch.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

SPAN_SECONDS = 30.0
SPENT_SECONDS = 3.0
MAX_GROWTH = 10
"""The factor by which the interval grows at most at once: one span may have been an exception."""
CALM_SPANS = 10
"""Spans without a drop, after one, before captures become more frequent again."""
RELAX_FRACTION = 0.8
"""Captures become more frequent again if that takes at most this fraction of the limit."""


@dataclass(frozen=True, slots=True)
class SpanStart:
    """The clock and the counters when a span began: seconds, seconds spent, captures dropped."""

    time: float
    spent: float
    dropped: int


class OverheadBudget:
    """Chooses by how much the interval between captures is stretched.

    limit: the share of training time that may be spent, above 0; None is no limit.
    """

    def __init__(self, limit: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stretch = 1
        """The factor by which the interval is longer than the user asked for."""
        self._limit = limit
        self._clock = clock
        self._first: SpanStart | None = None
        self._span: SpanStart | None = None
        self._calm = CALM_SPANS

    def overhead(self, spent: float) -> float:
        """Return the share of time spent since the first capture; 0 before there was one."""
        return 0.0 if self._first is None else _share(self._first, self._clock(), spent)

    def review(self, spent: float, dropped: int) -> bool:
        """Judge the span after a capture, if it is over. True if `stretch` has changed.

        spent: all seconds that the monitor has taken; dropped: all captures that found no room.
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
        """Choose the stretch: at n times the user's interval, the cost is share · stretch / n."""
        self._calm = 0 if dropped else self._calm + 1
        needed = self.stretch * share / limit
        if dropped:
            needed = max(needed, 2 * self.stretch)
        if needed > self.stretch:
            self.stretch = min(math.ceil(needed), MAX_GROWTH * self.stretch)
        elif self._calm >= CALM_SPANS:
            self.stretch = min(self.stretch, max(1, math.ceil(needed / RELAX_FRACTION)))


def _share(since: SpanStart, now: float, spent: float) -> float:
    return (spent - since.spent) / max(now - since.time, 1e-9)
