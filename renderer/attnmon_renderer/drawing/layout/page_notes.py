"""What a page says about its values: the meanings in its legend, and remarks below its caption."""

from collections.abc import Iterator, Sequence

import numpy as np

from attnmon_renderer.drawing.layout.panel_grid import PlacedPanel
from attnmon_renderer.drawing.spec import palettes
from attnmon_renderer.drawing.spec.panel import Panel
from attnmon_renderer.drawing.spec.scales import Scale

_ORDINALS = {2: "nd", 3: "rd"}

Meaning = tuple[str, int]
"""(text, palette index) of a colour that is not on the colour bar"""


def legend_meanings(
    panels: Sequence[Panel], scale: Scale, masked_meaning: str, mark_meaning: str
) -> tuple[Meaning, ...]:
    """Return what marks, masked cells and cells that are not finite mean, where there are any."""
    masked = any(panel.masked.any() for panel in panels)
    return (
        *([(mark_meaning, palettes.MARK)] if mark_meaning else []),
        *([(masked_meaning, scale.palette.masked_index)] if masked else []),
        *([("not finite", palettes.NOT_FINITE)] if _count_not_finite(panels) else []),
    )


def remarks(placed: Sequence[PlacedPanel], scale: Scale) -> Iterator[str]:
    """Yield what drawing did to the values, and how many of them are off the scale or no number."""
    sides = [(place.fitted.rows, place.fitted.columns) for place in placed]
    merged = {(rows.cells_merged, columns.cells_merged) for rows, columns in sides} - {(1, 1)}
    for merged_rows, merged_columns in sorted(merged):
        yield f"each cell drawn is the largest of {merged_rows}×{merged_columns}"
    yield from _describe_labels(placed)
    panels = [place.panel for place in placed]
    if beyond := _count_beyond(panels, scale):
        yield f"{_cells_are(beyond)} beyond the colour scale"
    if not_finite := _count_not_finite(panels):
        yield f"{_cells_are(not_finite)} not finite"


def _cells_are(count: int) -> str:
    return "1 cell is" if count == 1 else f"{count:,} cells are"


def _describe_labels(placed: Sequence[PlacedPanel]) -> Iterator[str]:
    """Yield which tokens are labelled, where not all are."""
    sides = [
        side
        for place in placed
        for side in (
            (place.row_ticks, place.panel.queries),
            (place.column_ticks, place.panel.keys),
        )
        if side[0].every > 1
    ]
    if sides:
        steps = sorted({ticks.every for ticks, _ in sides})
        every = " or ".join(f"{step}{_ORDINALS.get(step, 'th')}" for step in steps)
        pooled = any(axis.positions_per_cell > 1 for _, axis in sides)
        strongest = "" if pooled else "the strongest, "
        yield f"labelled: every {every} token, {strongest}the first and the last"


def _count_not_finite(panels: Sequence[Panel]) -> int:
    return sum(int(np.sum(~(np.isfinite(p.values) | p.masked))) for p in panels)


def _count_beyond(panels: Sequence[Panel], scale: Scale) -> int:
    """Return the number of cells that have the colour of the scale's end and a larger value."""
    end = scale.high * (1 + 1e-5)  # a float32 can be slightly larger than the number it stands for
    return sum(
        int(np.sum((np.abs(p.values) > end) & np.isfinite(p.values) & ~p.masked)) for p in panels
    )
