"""Lines set from kept pieces, against the same lines drawn whole by matplotlib."""

import numpy as np
import pytest
import support.pictures  # noqa: F401  # opens matplotlib's fonts before a leak check
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from attnmon_renderer.drawing.spec.page import Font, Text
from attnmon_renderer.drawing.spec.palettes import INK, WEIGHT_PALETTE, WHITE
from attnmon_renderer.drawing.text.fonts import font_properties
from attnmon_renderer.drawing.text.glyphs import draw_text, shorten, text_width, wrap
from attnmon_renderer.drawing.text.rc_defaults import matplotlib_defaults

WIDTH, HEIGHT = 1200, 120
LINES = (
    "step 1,200 · epoch 3 · loss 0.123",
    "head 11 · H 0.41",
    "AVAILABLE To 7 Wayfarers' 10×10 affine fjords, 3.14e-05",
    "encoder layer 0 · self-attention (√ scale) … 99 %",
    "Ġnaïve ▁Übergröße — “quoted” 2024",
)


def by_matplotlib(string: str, font: Font) -> np.ndarray:
    with matplotlib_defaults():
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
        canvas = FigureCanvasAgg(figure)
        figure.text(
            20 / WIDTH, 0.5, string, fontproperties=font_properties(font), color=str(INK / 255),
            parse_math=False,
        )  # fmt: skip
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[:, :, 0].copy()


@pytest.mark.parametrize("font", [Font(33, bold=True), Font(26), Font(17)])
@pytest.mark.parametrize("line", LINES)
def test_pieces_make_the_line_that_matplotlib_draws(line: str, font: Font) -> None:
    canvas = np.full((HEIGHT, WIDTH), WHITE, np.uint8)
    draw_text(canvas, Text(20, HEIGHT // 2, line, font), WEIGHT_PALETTE)
    assert (canvas < WHITE).any()
    assert np.array_equal(canvas, by_matplotlib(line, font))


@pytest.mark.parametrize("line", LINES)
def test_ink_ends_where_the_width_says(line: str) -> None:
    canvas = np.full((HEIGHT, WIDTH), WHITE, np.uint8)
    draw_text(canvas, Text(20, HEIGHT // 2, line, Font(26)), WEIGHT_PALETTE)
    last = int(np.flatnonzero((canvas < WHITE).any(axis=0))[-1])
    assert 0 <= 20 + text_width(line, Font(26)) - last <= 5


def test_text_beyond_the_edge_is_cut_off() -> None:
    """On all four sides, the part on the canvas is as it would be on a larger one."""
    large = np.full((100, 300), WHITE, np.uint8)
    draw_text(large, Text(50, 50, "cut off", Font(30)), WEIGHT_PALETTE)
    for top, left in ((40, 80), (-10, -10), (35, 0), (0, 100)):
        small = np.full((30, 60), WHITE, np.uint8)
        draw_text(small, Text(50 - left, 50 - top, "cut off", Font(30)), WEIGHT_PALETTE)
        rows, columns = slice(max(0, top), top + 30), slice(max(0, left), left + 60)
        shift = small[max(0, -top) :, max(0, -left) :]
        assert np.array_equal(shift, large[rows, columns])


def test_shortened_is_the_longest_beginning_that_fits() -> None:
    name, font = "encoder.layers.11.self_attention." * 5, Font(20)
    short = shorten(name, font, 300)
    assert short.endswith("…")
    assert name.startswith(short[:-1])
    assert text_width(short, font) <= 300 < text_width(name[: len(short)] + "…", font)
    assert shorten("short", font, 300) == "short"


def test_wrapped_breaks_at_spaces_and_shortens_the_last_line() -> None:
    lines = wrap("one two three four five six seven eight nine ten", Font(20), 160, lines=2)
    assert len(lines) == 2
    assert lines[0].split() == ["one", "two", "three", "four"][: len(lines[0].split())]
    assert all(text_width(line, Font(20)) <= 160 for line in lines)
    assert lines[1].endswith("…")
    assert wrap("one two", Font(20), 160) == ["one two"]
