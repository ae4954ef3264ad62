"""The words of a page, each put where it stands."""

from collections.abc import Iterable, Iterator

from attnmon_renderer.drawing.layout.font_sizes import FontSizes
from attnmon_renderer.drawing.layout.panel_grid import PanelGrid, PlacedPanel
from attnmon_renderer.drawing.layout.ticks import Ticks
from attnmon_renderer.drawing.spec.page import ColorBar, ColorBlock, Font, Text
from attnmon_renderer.drawing.spec.panel import Axis, Caption
from attnmon_renderer.drawing.text.glyphs import shorten, text_width, wrap

_CAPITAL = 0.73
"""Height of a capital or a digit in DejaVu Sans, in sizes of the font."""
_SMALLEST_LABEL = 15
_SWATCH, _SWATCH_GAP = 20, 9


def header_texts(
    caption: Caption, remarks: Iterable[str], page_width: int, sizes: FontSizes
) -> Iterator[Text]:
    """Title, run, and the note in one line or two."""
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


def panel_texts(
    places: tuple[PlacedPanel, ...], left: int, upper: int, body: PanelGrid
) -> Iterator[Text]:
    """The panels' labels and the names of their ticks."""
    font = _label_font(places, body)
    for place in places:
        x, y = left + place.x, upper + place.y
        if place.panel.label:
            label = shorten(place.panel.label, font, body.max_label_width(place))
            yield Text(x, y - body.sizes.px(9), label, font)
        if place.shows_column_labels:
            yield from _below(place.column_ticks, x, y + place.fitted.rows.pixels, body.sizes)
        if place.shows_row_labels:
            yield from _beside(place.row_ticks, x, y, body.sizes)


def _label_font(places: tuple[PlacedPanel, ...], body: PanelGrid) -> Font:
    """As large as it may be for the longest label to fit, within reason."""
    font = body.sizes.label
    fits = min(body.max_label_width(p) / max(1, text_width(p.panel.label, font)) for p in places)
    return Font(min(font.size, max(_SMALLEST_LABEL, int(font.size * fits))), font.bold)


def _below(ticks: Ticks, left: int, lower: int, sizes: FontSizes) -> Iterator[Text]:
    y = lower + sizes.tick_length + sizes.tick_gap
    for offset, label in zip(ticks.offsets, ticks.labels, strict=True):
        if ticks.tokens:
            x = left + offset + round(ticks.font.size * _CAPITAL / 2)
            yield Text(x, y + text_width(label, ticks.font), label, ticks.font, upright=True)
        else:
            yield centred_text(label, left + offset, y + capital_height(ticks.font), ticks.font)


def _beside(ticks: Ticks, left: int, upper: int, sizes: FontSizes) -> Iterator[Text]:
    right = left - sizes.tick_length - sizes.tick_gap
    for offset, label in zip(ticks.offsets, ticks.labels, strict=True):
        y = upper + offset + capital_height(ticks.font) // 2
        yield Text(right - text_width(label, ticks.font), y, label, ticks.font)


def color_bar_texts(bar: ColorBar, sizes: FontSizes) -> Iterator[Text]:
    """The numbers at the colour bar, and the name of its scale beyond them."""
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
    """A square and a word for each colour that is not on the bar."""
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
    widest = max((text_width(meaning, sizes.tick) for meaning in meanings), default=0)
    return sizes.px(_SWATCH) + sizes.px(_SWATCH_GAP) + widest


def axis_title(axis: Axis, role: str, ticks: Ticks) -> str:
    return axis.name or f"{role} {'token' if ticks.tokens else 'position'}"


def centred_text(string: str, x: int, y: int, font: Font) -> Text:
    return Text(x - text_width(string, font) // 2, y, string, font)


def upright_text(string: str, x: int, y: int, font: Font) -> Text:
    """Centred on `y` and read upwards, its baseline at `x`."""
    return Text(x, y + text_width(string, font) // 2, string, font, upright=True)


def format_number(value: float) -> str:
    """As short as can be, with a true minus."""
    return f"{value:.10g}".replace("-", "−")


def capital_height(font: Font) -> int:
    return round(_CAPITAL * font.size)
