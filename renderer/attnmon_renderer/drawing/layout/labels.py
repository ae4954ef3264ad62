"""The texts of a page, each where it stands: caption, labels, numbers at the bar, legend."""

from collections.abc import Iterable, Iterator

from attnmon_renderer.drawing.layout.panel_grid import PanelGrid
from attnmon_renderer.drawing.layout.ticks import Ticks
from attnmon_renderer.drawing.layout.token_ticks import downward_parts, line_height, runs_downwards
from attnmon_renderer.drawing.spec.page import ColorBar, ColorBlock, Font, Text
from attnmon_renderer.drawing.spec.panel import Axis, Caption
from attnmon_renderer.drawing.text.font_sizes import FontSizes
from attnmon_renderer.drawing.text.glyphs import shorten, text_width, wrap

_CAPITAL = 0.73
"""Height of a capital or a digit in DejaVu Sans, in font sizes."""
_ABOVE = 0.86
"""Height of a Chinese character above the baseline, in font sizes."""
_SMALLEST_LABEL = 15
"""Font size in pixels."""
_SWATCH, _SWATCH_GAP = 20, 9


def header_texts(
    caption: Caption, remarks: Iterable[str], page_width: int, sizes: FontSizes
) -> Iterator[Text]:
    """Yield the caption's title and run, and its note with the remarks in four lines at most."""
    x, room = sizes.margin, page_width - 2 * sizes.margin
    y = sizes.px(14) + sizes.title.size
    yield Text(x, y, shorten(caption.title, sizes.title, room), sizes.title)
    if caption.run:
        y += sizes.px(40)
        yield Text(x, y, shorten(caption.run, sizes.run, room), sizes.run)
    note = " · ".join(filter(None, (caption.note, *remarks)))
    for line, string in enumerate(wrap(note, sizes.note, room) if note else ()):
        y += sizes.px(30 if line else 36)
        yield Text(x, y, string, sizes.note)


def panel_texts(grid: PanelGrid, left: int, top: int) -> Iterator[Text]:
    """Yield the panels' labels and tick labels; the grid's upper left corner is at (left, top)."""
    font = _label_font(grid)
    for placed in grid.placed_panels:
        x, y = left + placed.x, top + placed.y
        if placed.panel.label:
            label = shorten(placed.panel.label, font, grid.max_label_width(placed))
            yield Text(x, y - grid.sizes.px(9), label, font)
        if placed.shows_column_labels:
            bottom = y + placed.fitted.rows.pixels
            yield from _column_tick_labels(placed.column_ticks, x, bottom, grid.sizes)
        if placed.shows_row_labels:
            yield from _row_tick_labels(placed.row_ticks, x, y, grid.sizes)


def _label_font(grid: PanelGrid) -> Font:
    """Return the largest font in which every label fits, but none that is too small to read."""
    font = grid.sizes.label
    fits = min(
        grid.max_label_width(placed) / max(1, text_width(placed.panel.label, font))
        for placed in grid.placed_panels
    )
    return Font(min(font.size, max(_SMALLEST_LABEL, int(font.size * fits))), font.bold)


def _column_tick_labels(ticks: Ticks, left: int, lower: int, sizes: FontSizes) -> Iterator[Text]:
    y = lower + sizes.tick_length + sizes.tick_gap
    for offset, label in zip(ticks.offsets, ticks.labels, strict=True):
        if not ticks.tokens:
            yield centred_text(label, left + offset, y + capital_height(ticks.font), ticks.font)
        elif runs_downwards(label):
            yield from _downward_label(label, left + offset, y, ticks.font)
        else:
            x = left + offset + round(ticks.font.size * _CAPITAL / 2)
            yield Text(x, y + text_width(label, ticks.font), label, ticks.font, upright=True)


def _downward_label(label: str, x: int, y: int, font: Font) -> Iterator[Text]:
    """Yield the characters of a label, one under the other."""
    for line, part in enumerate(downward_parts(label)):
        baseline = y + line * line_height(font) + round(font.size * _ABOVE)
        yield centred_text(part, x, baseline, font)


def _row_tick_labels(ticks: Ticks, left: int, upper: int, sizes: FontSizes) -> Iterator[Text]:
    right = left - sizes.tick_length - sizes.tick_gap
    for offset, label in zip(ticks.offsets, ticks.labels, strict=True):
        y = upper + offset + capital_height(ticks.font) // 2
        yield Text(right - text_width(label, ticks.font), y, label, ticks.font)


def color_bar_texts(bar: ColorBar, sizes: FontSizes) -> Iterator[Text]:
    """Yield the numbers at the colour bar's ticks, and the name of its scale right of them."""
    scale = bar.scale
    x = bar.x + bar.width + sizes.tick_length + sizes.tick_gap
    right = x + max(text_width(format_number(tick), sizes.tick) for tick in scale.ticks)
    for tick in scale.ticks:
        y = bar.y + bar.offset(scale.fraction(tick)) + capital_height(sizes.tick) // 2
        yield Text(x, y, format_number(tick), sizes.tick)
    yield upright_text(
        scale.name, right + sizes.px(14) + sizes.axis.size, bar.y + bar.height // 2, sizes.axis
    )


def legend_entries(
    meanings: Iterable[tuple[str, int]], x: int, y: int, sizes: FontSizes
) -> Iterator[tuple[ColorBlock, Text]]:
    """Yield a block and its meaning for each (meaning, palette index), in lines below (x, y)."""
    font = sizes.tick
    side = sizes.px(_SWATCH)
    for line, (meaning, index) in enumerate(meanings):
        baseline = y + sizes.px(34 + 32 * line)
        middle = baseline - capital_height(font) // 2
        yield (
            ColorBlock(x, middle - side // 2, side, side, index),
            Text(x + side + sizes.px(_SWATCH_GAP), baseline, meaning, font),
        )


def legend_width(meanings: Iterable[str], sizes: FontSizes) -> int:
    """Return the width of a legend in pixels."""
    widest = max((text_width(meaning, sizes.tick) for meaning in meanings), default=0)
    return sizes.px(_SWATCH) + sizes.px(_SWATCH_GAP) + widest


def axis_title(axis: Axis, role: str, ticks: Ticks) -> str:
    """Return the axis' name, or what its ticks are, such as "query token" for the role "query"."""
    return axis.name or f"{role} {'token' if ticks.tokens else 'position'}"


def centred_text(string: str, x: int, y: int, font: Font) -> Text:
    """Return a text centred at `x`, its baseline at `y`."""
    return Text(x - text_width(string, font) // 2, y, string, font)


def upright_text(string: str, x: int, y: int, font: Font) -> Text:
    """Return a text that reads upwards, centred at `y`, its baseline at `x`."""
    return Text(x, y + text_width(string, font) // 2, string, font, upright=True)


def format_number(value: float) -> str:
    """Return a number as short as possible, with a minus sign instead of a hyphen."""
    return f"{value:.10g}".replace("-", "−")


def capital_height(font: Font) -> int:
    """Return the height of capitals and digits in pixels."""
    return round(_CAPITAL * font.size)
