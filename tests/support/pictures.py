"""Made-up attention with the features of real attention, and checks of its pictures."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from attnmon_renderer.drawing import Axis, Caption, HeadGridData, HeatmapData, Panel, Png
from attnmon_renderer.drawing.backends import matplotlib_reference
from attnmon_renderer.drawing.backends.raster import rasterize
from attnmon_renderer.drawing.spec.page import CellMap, Font, Page
from attnmon_renderer.drawing.spec.palettes import WHITE
from attnmon_renderer.drawing.text.glyphs import text_width
from attnmon_renderer.drawing.text.rc_defaults import matplotlib_defaults

for bold in (False, True):
    text_width("0", Font(9, bold))  # matplotlib keeps font files open from the first use on

CAPTION = Caption(
    "decoder layer 0 · cross-attention",
    "step 1,200 · epoch 3 · loss 0.123",
    "averaged over 8 heads",
)


def attention(heads: int, queries: int, keys: int, causal: bool = False) -> np.ndarray:
    """Returns weights [heads, queries, keys]: noise, a diagonal and a first-token sink.

    The diagonal has another width in each head.
    """
    random = np.random.default_rng(queries * keys + heads)
    logits = random.normal(size=(heads, queries, keys))
    row, column = np.arange(queries)[:, None] * keys / queries, np.arange(keys)
    logits -= np.abs(row - column) * np.linspace(0, 1, heads)[:, None, None]
    logits[..., 0] += 2
    if causal:
        logits[:, column > np.arange(queries)[:, None]] = -np.inf
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def nothing_masked(queries: int, keys: int) -> np.ndarray:
    return np.zeros((queries, keys), np.bool_)


def heatmap_data(
    values: np.ndarray,
    masked: np.ndarray | None = None,
    caption: Caption = CAPTION,
    query_tokens: tuple[str, ...] = (),
    key_tokens: tuple[str, ...] = (),
) -> HeatmapData:
    queries, keys = values.shape
    return HeatmapData(
        caption,
        values.astype(np.float32),
        nothing_masked(queries, keys) if masked is None else masked,
        Axis(queries, tokens=query_tokens),
        Axis(keys, tokens=key_tokens),
    )


def head_grid_data(heads: int, queries: int, keys: int, caption: Caption = CAPTION) -> HeadGridData:
    return HeadGridData(
        caption,
        attention(heads, queries, keys),
        nothing_masked(queries, keys),
        tuple(f"head {head} · H {head / heads:.2f}" for head in range(heads)),
        Axis(queries),
        Axis(keys),
    )


def panel(label: str, queries: int, keys: int) -> Panel:
    values = attention(2, queries, keys)[1]
    return Panel(label, values, nothing_masked(queries, keys), Axis(queries), Axis(keys))


def decoded(png: Png) -> np.ndarray:
    """Returns the pixels [rows, columns, 3], read by Pillow."""
    with Image.open(io.BytesIO(png.data)) as image:
        image.load()
        assert image.size == (png.width, png.height)
        return np.asarray(image.convert("RGB"))


def inside_maps(page: Page) -> np.ndarray:
    """Returns a mask [rows, columns] of the pixels that lie in a map."""
    inside = np.zeros((page.height, page.width), np.bool_)
    for area in page.maps:
        inside[rows_of(area), columns_of(area)] = True
    return inside


def rows_of(area: CellMap) -> slice:
    return slice(area.y, area.y + area.height)


def columns_of(area: CellMap) -> slice:
    return slice(area.x, area.x + area.width)


def assert_matplotlib_draws_the_same(pixels: np.ndarray, page: Page) -> None:
    """Asserts that no pixel in a map differs from matplotlib's, and at most 0.1 % of all do."""
    with matplotlib_defaults():
        figure = matplotlib_reference.matplotlib_figure(page)
        figure.canvas.draw()
        expected = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]
    differs = (pixels != expected).any(axis=2)
    assert not differs[inside_maps(page)].any()
    assert differs.mean() <= 0.001


def assert_texts_stand_apart(page: Page) -> None:
    """Asserts that no text touches the page's edge, another text or anything else drawn."""
    taken = rasterize(replace(page, texts=())) != WHITE
    taken[[0, -1]] = taken[:, [0, -1]] = True
    empty = replace(page, maps=(), bars=(), blocks=(), shapes=(), mesh=None)
    for text in page.texts:
        inked = rasterize(replace(empty, texts=(text,))) < WHITE
        assert inked.any(), text
        assert not (inked & taken).any(), text
        taken |= inked
