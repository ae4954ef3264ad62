"""Chooses the interval between captures so that the monitor's share of the time stays in bounds.

The first capture, which finds the layers, happens once: time is counted from its end. A span is
judged when `SPAN_SECONDS` of training have passed, or `SPENT_SECONDS` were spent in it, so that
neither a short run nor a single slow moment leads to fewer captures. Where drawing competes with
training, each capture is counted with what drawing one takes at present, whenever it will be drawn;
and the span is judged sooner, or what is captured meanwhile would wait until it is old.

Depends neither on steps nor on torch.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

SPAN_SECONDS = 30.0
SPENT_SECONDS = 3.0
COMPETING_SECONDS = 5.0
"""After so long a span is over if drawing its captures takes all that a whole span may cost."""
MAX_GROWTH = 10
"""The factor by which the interval grows at most at once: one span may have been an exception."""
CALM_SPANS = 10
"""Spans without a drop, after one, before captures become more frequent again."""
RELAX_FRACTION = 0.8
"""Captures become more frequent again if that takes at most this fraction of the limit."""


@dataclass(frozen=True, slots=True)
class SpanStart:
    """The clock and the counters when a span began."""

    time: float
    spent: float
    """All seconds that the monitor has taken in the training process."""
    dropped: int
    captured: int


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

    def overhead(self, spent: float, competed: float = 0.0) -> float:
        """Return the share of time taken since the first capture; 0 before there was one.

        `competed`: the seconds that drawing took, where no core was free.
        """
        if self._first is None:
            return 0.0
        return _share(self._first, self._clock(), spent + competed)

    def review(
        self, spent: float, dropped: int, captured: int = 0, drawing_each: float = 0.0
    ) -> bool:
        """Judge the span after a capture, if it is over. True if `stretch` has changed.

        The arguments are totals: see `SpanStart`. `drawing_each`: the seconds of training that
        drawing a capture takes at present.
        """
        now = SpanStart(self._clock(), spent, dropped, captured)
        if self._first is None or self._span is None:
            self._first = self._span = now
            return False
        span = self._span
        drawing = (captured - span.captured) * drawing_each
        if self._limit is None or not _is_over(span, now, drawing, self._limit):
            return False
        before, self._span = self.stretch, now
        share = _share(span, now.time, spent + drawing)
        self._judge(share, self._limit, dropped > span.dropped)
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


def _is_over(span: SpanStart, now: SpanStart, drawing: float, limit: float) -> bool:
    passed = now.time - span.time
    if passed >= SPAN_SECONDS or now.spent - span.spent >= SPENT_SECONDS:
        return True
    return passed >= COMPETING_SECONDS and drawing >= limit * SPAN_SECONDS


def _share(since: SpanStart, now: float, spent: float) -> float:
    return (spent - since.spent) / max(now - since.time, 1e-9)
