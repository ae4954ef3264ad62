"""Draws a run's curves as SVG: the loss, and the entropy of each kind of layer, over the steps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from attnmon_renderer.drawing.spec.palettes import LEVELS, WEIGHT_PALETTE
from attnmon_renderer.report.history_rows import head_values, known, mean
from attnmon_renderer.storage.records import recorded_layers

WIDTH, LEFT, RIGHT = 1000, 64, 170
HEIGHT, GAP, TOP = 110, 34, 22
MOST_CURVES = 1000
"""Of one kind of layer."""
LIGHTEST = 0.85
"""Place of the last layer on the colour map, 0 to 1: lighter lines are invisible on white."""
LOG_FROM = 20
"""A loss whose values differ by more than this factor has a logarithmic scale."""

Curve = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class ChartPanel:
    """Curves with a common scale."""

    title: str
    curves: Mapping[str, Curve]
    """By name, one value per capture; None leaves a gap."""
    low: float
    """Value at the lower edge."""
    high: float
    """Value at the upper edge."""
    logarithmic: bool = False

    def height_of(self, value: float) -> float:
        """Returns the height of a value: 0 at the lower edge, 1 at the upper."""
        low, height, high = (
            (math.log(x) if self.logarithmic else x) for x in (self.low, value, self.high)
        )
        return (height - low) / (high - low)


def svg_chart(history: list[dict[str, Any]]) -> str:
    """Returns an SVG element with one panel below the other; empty if nothing was captured."""
    panels = [*_loss_panels(history), *_entropy_panels(history)]
    if not panels:
        return ""
    steps = [line["metadata"]["step"] for line in history]
    height = TOP + len(panels) * (HEIGHT + GAP)
    elements = "".join(
        part
        for number, panel in enumerate(panels)
        for part in _panel_elements(panel, steps, TOP + number * (HEIGHT + GAP))
    )
    foot = height - GAP
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="loss and entropy by step">'
        f"{elements}{''.join(_step_labels(steps, foot))}"
        f'<line id="cursor" class="cursor" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{foot}"/></svg>'
    )


def step_x(step: float, history: list[dict[str, Any]]) -> float:
    """Returns the x coordinate of a step in the chart of this history."""
    steps = [line["metadata"]["step"] for line in history] or [0]
    return _x(step, steps[0], steps[-1])


def _loss_panels(history: list[dict[str, Any]]) -> Iterator[ChartPanel]:
    losses = [line["metadata"].get("loss") for line in history]
    values = known(losses)
    if values:
        low, high = min(values), max(values)
        logarithmic = low > 0 and high / low > LOG_FROM
        margin = 0.0 if high > low else max(0.5, abs(low) / 2)
        low, high = low - margin, high + margin
        name = "loss (log scale)" if logarithmic else "loss"
        yield ChartPanel(name, {"loss": losses}, low, high, logarithmic)


def _entropy_panels(history: list[dict[str, Any]]) -> Iterator[ChartPanel]:
    kinds: dict[str, dict[str, list[float | None]]] = {}
    for capture, line in enumerate(history):
        for stack, row in recorded_layers(line):
            kind = f"{stack} {row['type'].replace('_', '-')}"
            empty: list[float | None] = [None] * len(history)
            curves = kinds.setdefault(kind, {})
            curve = curves.setdefault(f"layer {row['layer']}", empty)
            curve[capture] = mean(head_values(row, "entropy"))
            if len(curves) > MOST_CURVES:
                curves.popitem()
    for kind, curves in kinds.items():
        yield ChartPanel(f"entropy of {kind} (of its maximum, mean of the heads)", curves, 0.0, 1.0)


def _panel_elements(panel: ChartPanel, steps: list[int], top: int) -> Iterator[str]:
    foot, right = top + HEIGHT, WIDTH - RIGHT
    yield f'<text class="title" x="{LEFT}" y="{top - 7}">{escape(panel.title)}</text>'
    yield f'<rect class="frame" x="{LEFT}" y="{top}" width="{right - LEFT}" height="{HEIGHT}"/>'
    for value, y in ((panel.high, top + 11), (panel.low, foot)):
        yield f'<text class="tick" x="{LEFT - 7}" y="{y}" text-anchor="end">{value:.3g}</text>'
    colours = _colours(len(panel.curves))
    for curve, colour in zip(panel.curves.values(), colours, strict=True):
        yield f'<path class="curve" stroke="{colour}" d="{_path(panel, curve, steps, top)}"/>'
    yield from _legend(panel, colours, top)
    yield from _columns(panel, steps, top)


def _path(panel: ChartPanel, curve: Curve, steps: list[int], top: int) -> str:
    """Returns the path of a curve; a single point is a line of no length, drawn as a dot."""
    parts, pen = [], "M"
    for step, value in zip(steps, curve, strict=True):
        if value is None:
            pen = "M"
            continue
        x = _x(step, steps[0], steps[-1])
        y = top + HEIGHT * (1 - min(max(panel.height_of(value), 0.0), 1.0))
        parts.append(f"{pen}{x:.1f} {y:.1f}" + (f"L{x:.1f} {y:.1f}" if pen == "M" else ""))
        pen = "L"
    return "".join(parts)


def _legend(panel: ChartPanel, colours: list[str], top: int) -> Iterator[str]:
    """Yields the name and last value of each curve; of many, every second, third … one."""
    items = list(zip(panel.curves.items(), colours, strict=True))
    x = WIDTH - RIGHT + 14
    for index, ((name, curve), colour) in enumerate(items[:: _curves_a_name(panel)]):
        last = next((value for value in reversed(curve) if value is not None), None)
        number = "" if last is None else f" · {last:.3g}"
        y = top + 11 + 16 * index
        yield f'<rect x="{x}" y="{y - 9}" width="12" height="9" fill="{colour}"/>'
        yield f'<text class="tick" x="{x + 19}" y="{y}">{escape(name)}{number}</text>'


def _curves_a_name(panel: ChartPanel) -> int:
    """Returns of how many curves one is named, so that there is room for all names."""
    return math.ceil(len(panel.curves) / (HEIGHT // 16))


def _columns(panel: ChartPanel, steps: list[int], top: int) -> Iterator[str]:
    """Yields for each capture what the mouse rests on, to read the step and its values."""
    named = list(panel.curves.items())[:: _curves_a_name(panel)]
    xs = [_x(step, steps[0], steps[-1]) for step in steps]
    edges = [LEFT, *((one + next_one) / 2 for one, next_one in pairwise(xs)), WIDTH - RIGHT]
    for index, (step, (left, right)) in enumerate(zip(steps, pairwise(edges), strict=True)):
        values = [(name, curve[index]) for name, curve in named]
        words = [f"{name} · {value:.4g}" for name, value in values if value is not None]
        title = escape("\n".join([f"step {step:,}", *words]))
        yield (
            f'<rect class="column" x="{left:.1f}" y="{top}" width="{max(right - left, 0):.1f}" '
            f'height="{HEIGHT}"><title>{title}</title></rect>'
        )


def _step_labels(steps: list[int], foot: int) -> Iterator[str]:
    ends = ((LEFT, "start", steps[0]), (WIDTH - RIGHT, "end", steps[-1]))
    for x, anchor, step in ends if steps[0] != steps[-1] else ends[:1]:
        label = f"step {step:,}"
        yield f'<text class="tick" x="{x}" y="{foot + 18}" text-anchor="{anchor}">{label}</text>'


def _x(step: float, first: float, last: float) -> float:
    share = (step - first) / (last - first) if last > first else 0.0
    return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - RIGHT - LEFT)


def _colours(count: int) -> list[str]:
    """Returns colours from dark to light along the colour map of the pictures."""
    last = LIGHTEST * (LEVELS - 1)
    places = [round(number * last / max(count - 1, 1)) for number in range(count)]
    return ["#{:02x}{:02x}{:02x}".format(*WEIGHT_PALETTE.colours[place]) for place in places]
