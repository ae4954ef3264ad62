"""What a picture costs, against plain matplotlib with the same content at the same size.

    python scripts/bench_figures.py [--quick] [--json FILE]

CPU time of one thread, best of several. Plain matplotlib is `subplots`, `imshow`, `colorbar` and
`savefig` as one writes them. Pixels are compared with matplotlib's drawing of the same page, with
every label in the same place.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from PIL import Image

from attnmon_renderer.drawing import (
    Axis,
    Caption,
    ComparisonPicture,
    GridPicture,
    MapPicture,
    Panel,
    Png,
    head_grid,
    heat_map,
    layer_comparison,
    maps,
    plain,
)
from attnmon_renderer.drawing.arrangement import columns_for
from attnmon_renderer.drawing.isolation import default_settings
from attnmon_renderer.drawing.page import Page

Array = npt.NDArray[Any]

CAPTION = Caption("decoder layer 0 · self-attention", "step 1,200 · epoch 3 · loss 0.123")
TOKENS = (
    *("the", "model", "reads", "and", "restores", "▁what", "Ġwas", "lost"),
    *map(str, range(21)),
)


class Row(NamedTuple):
    """One line of the result: names and units are those of the JSON."""

    figure: str
    naive_ms: float
    ours_ms: float
    ratio: float
    bytes: int
    differing_pixels: int


def attention(heads: int, length: int) -> Array:
    """[heads, length, length]: softmax of noise, diagonals of several widths, and a sink."""
    logits = np.random.default_rng(0).normal(0, 1.5, (heads, length, length))
    distance = abs(np.arange(length)[:, None] - np.arange(length))
    logits -= distance * np.linspace(0, 0.3, heads)[:, None, None]
    logits[:, :, 0] += 2
    weights = np.exp(logits)
    weights /= weights.sum(axis=2, keepdims=True)
    return np.asarray(weights, np.float32)


def one_map(length: int, tokens: tuple[str, ...] = (), causal: bool = False) -> MapPicture:
    masked = np.triu(np.ones((length, length), np.bool_), 1) & causal
    axis = Axis(length, tokens=tokens)
    return MapPicture(CAPTION, attention(3, length)[1] * ~masked, masked, axis, axis)


def grid(heads: int, length: int) -> GridPicture:
    labels = tuple(f"head {head} · H {head / heads:.2f}" for head in range(heads))
    masked = np.zeros((length, length), np.bool_)
    return GridPicture(
        CAPTION, attention(heads, length), masked, labels, Axis(length), Axis(length)
    )


def comparison(layers: int, length: int) -> ComparisonPicture:
    picture = grid(layers, length)
    panels = [
        Panel(f"layer {layer}", values, picture.masked, picture.queries, picture.keys)
        for layer, values in enumerate(picture.values)
    ]
    return ComparisonPicture(CAPTION, tuple(panels))


def naive(page: Page, tokens: tuple[str, ...] = ()) -> bytes:
    """The maps of a page at its size, drawn by matplotlib as one uses it."""
    columns = columns_for(len(page.maps))
    figure = Figure(figsize=(page.width / 100, page.height / 100), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(-(-len(page.maps) // columns), columns, squeeze=False)
    norm = FuncNorm((np.sqrt, np.square), vmin=0, vmax=page.top)
    for number, (ax, area) in enumerate(zip(axes.flat, page.maps, strict=False)):
        shown = np.ma.masked_array(area.values, area.masked)
        image = ax.imshow(shown, cmap="viridis", norm=norm, interpolation="nearest")
        ax.set_title(f"head {number} · H 0.41")
        ax.set_xlabel("key position")
        ax.set_ylabel("query position")
        if tokens:
            ax.set_xticks(range(len(tokens)), tokens, rotation=90)
            ax.set_yticks(range(len(tokens)), tokens)
    figure.colorbar(image, ax=axes, label="attention weight")
    figure.suptitle(f"{CAPTION.title}\n{CAPTION.run}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def cpu_milliseconds(draw: Callable[[], object], times: int) -> float:
    draw()
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        draw()
        best = min(best, time.process_time() - start)
    return 1000 * best


def differing_pixels(png: Png, page: Page) -> int:
    with default_settings():
        figure = plain.figure(page)
        figure.canvas.draw()
        expected = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(png.data)) as image:
        return int((np.asarray(image.convert("RGB")) != expected).any(axis=2).sum())


def cases(quick: bool) -> Iterator[tuple[str, Callable[[], Png], Page, tuple[str, ...]]]:
    """What is drawn: its name, our drawing of it, its page, and the tokens on its axes."""
    tokens = TOKENS
    for name, picture in (
        ("heat map, 128 × 128", one_map(128)),
        ("heat map, 29 × 29, tokens", one_map(29, tokens)),
        ("heat map, 512 × 512, causal", one_map(512, causal=True)),
    ):
        page = maps.heat_map_page(picture)
        yield name, partial(heat_map, picture), page, picture.queries.tokens
    for heads, length in ((12, 128),) if quick else ((12, 128), (64, 64)):
        heads_picture = grid(heads, length)
        page = maps.head_grid_page(heads_picture)
        name = f"head grid, {heads} × {length} × {length}"
        yield name, partial(head_grid, heads_picture), page, ()
    layers = comparison(6, 128)
    page = maps.layer_comparison_page(layers)
    yield "layer comparison, 6 × 128 × 128", partial(layer_comparison, layers), page, ()


def measured(quick: bool) -> Iterator[tuple[Row, Page]]:
    times = 3 if quick else 9
    for name, ours, page, tokens in cases(quick):
        naive_ms = cpu_milliseconds(partial(naive, page, tokens), times)
        ours_ms = cpu_milliseconds(ours, 5 * times)
        png = ours()
        ratio = naive_ms / ours_ms
        row = Row(name, naive_ms, ours_ms, ratio, len(png.data), differing_pixels(png, page))
        yield row, page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer kinds, fewer times")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    print(f"{'picture':32} {'pixels':>11} {'matplotlib':>11} {'here':>9}  ratio   bytes  differ")
    rows = []
    for row, page in measured(options.quick):
        rows.append(row._asdict())
        print(
            f"{row.figure:32} {f'{page.width} × {page.height}':>11} {row.naive_ms:8.0f} ms "
            f"{row.ours_ms:6.1f} ms {row.ratio:5.0f}× {row.bytes:8,} {row.differing_pixels:6}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
