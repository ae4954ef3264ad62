"""Draws one quantity of two runs as a small chart: A as a line, B dashed."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from attnmon_renderer.compare.series.curves_over_training import CurvePair, Point
from attnmon_renderer.compare.series.series_alignment import Align

WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, FOOT = 46, 6, 20, 20
LOG_FROM = 20
"""Values that differ by more than this factor have a logarithmic scale."""
X_WORDS: dict[Align, str] = {
    "step": "step", "loss": "loss reached (falling)", "end": "steps before the end"
}  # fmt: skip
_QUANTITIES = {"loss": "loss", "entropy": "entropy, mean of heads", "max_logit": "largest logit"}


def title_of(pair: CurvePair) -> str:
    """ "decoder self 3 · entropy, mean of heads" """
    words = _QUANTITIES.get(pair.quantity, pair.quantity)
    return words if pair.layer is None else f"{pair.layer} · {words}"


def curve_svg(pair: CurvePair, align: Align, at: float | None) -> str:
    """Return an SVG element; `at` is marked where it is on the axis."""
    points = [*pair.a, *pair.b]
    xs, ys = ([point[i] for point in points] for i in (0, 1))
    axes = _Axes(xs, ys, falling=align == "loss")
    place = -at if align == "end" and at is not None else at
    title = escape(title_of(pair) + (" (log scale)" if axes.logarithmic else ""))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        f'<text class="title" x="{LEFT}" y="13">{title}</text>'
        f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - FOOT}"/>{"".join(axes.labels(align))}{axes.mark(place)}'
        f'<path class="a" d="{axes.path(pair.a)}"/><path class="b" d="{axes.path(pair.b)}"/></svg>'
    )


class _Axes:
    """Where values are in the chart."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], *, falling: bool) -> None:
        self._first, self._last = (max(xs), min(xs)) if falling else (min(xs), max(xs))
        low, high = min(ys), max(ys)
        self.logarithmic = low > 0 and high / low > LOG_FROM
        margin = 0.0 if high > low else abs(low) / 2 or 0.5
        self._low, self._high = low - margin, high + margin

    def path(self, points: Sequence[Point]) -> str:
        """Return the path of a curve; a single point is a line of no length, drawn as a dot."""
        places = [f"{self._x(x):.1f} {self._y(y):.1f}" for x, y in points]
        return "M" + "L".join(places * 2 if len(places) == 1 else places) if places else ""

    def labels(self, align: Align) -> Iterator[str]:
        digits = 3 if align == "loss" else 9
        right, foot = WIDTH - RIGHT, HEIGHT - FOOT
        for value, y in ((self._high, TOP + 9), (self._low, foot)):
            yield f'<text class="tick" x="{LEFT - 4}" y="{y}" text-anchor="end">{value:.3g}</text>'
        yield f'<text class="tick" x="{LEFT}" y="{foot + 14}">{self._first:.{digits}g}</text>'
        yield (
            f'<text class="tick" x="{(LEFT + right) / 2}" y="{foot + 14}" '
            f'text-anchor="middle">{X_WORDS[align]}</text>'
        )
        yield (
            f'<text class="tick" x="{right}" y="{foot + 14}" text-anchor="end">'
            f"{self._last:.{digits}g}</text>"
        )

    def mark(self, place: float | None) -> str:
        """Return a line where the runs are compared."""
        low, high = sorted((self._first, self._last))
        if place is None or not low <= place <= high:
            return ""
        x = f"{self._x(place):.1f}"
        return f'<line class="at" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - FOOT}"/>'

    def _x(self, x: float) -> float:
        length = self._last - self._first
        share = (x - self._first) / length if length else 0.5
        return LEFT + share * (WIDTH - RIGHT - LEFT)

    def _y(self, y: float) -> float:
        low, here, high = (
            (math.log(each) if self.logarithmic else each) for each in (self._low, y, self._high)
        )
        return TOP + (1 - (here - low) / (high - low)) * (HEIGHT - TOP - FOOT)
