"""What a picture costs, against plain matplotlib with the same content at the same size.

    python scripts/bench_figures.py [--quick] [--json FILE]

CPU time of one thread, best of several. Plain matplotlib is `subplots`, `imshow`, `colorbar` and
`savefig` as one writes them. Pixels are compared with matplotlib's drawing of the same page, with
every label in the same place.
"""

import argparse
import io
import json
import os
import sys
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
    HeadGridData,
    HeatmapData,
    LayerComparisonData,
    Panel,
    Png,
    render_png,
)
from attnmon_renderer.drawing.backends import matplotlib_reference
from attnmon_renderer.drawing.charts import heatmaps
from attnmon_renderer.drawing.charts.alignment import alignment
from attnmon_renderer.drawing.charts.difference import difference
from attnmon_renderer.drawing.charts.head_matrix import head_matrix
from attnmon_renderer.drawing.charts.rollout import rollout
from attnmon_renderer.drawing.charts.surface import surface
from attnmon_renderer.drawing.charts.timeline import timeline
from attnmon_renderer.drawing.layout.panel_grid import column_count
from attnmon_renderer.drawing.spec.figure_data import (
    DifferenceData,
    HeadMatrixData,
    RolloutData,
    TimelineData,
)
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.text.rc_defaults import matplotlib_defaults

Array = npt.NDArray[Any]

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
CAPTION = Caption("decoder layer 0 · self-attention", "step 1,200 · epoch 3 · loss 0.123")
TOKENS = (
    *("the", "model", "reads", "and", "restores", "▁what", "Ġwas", "lost"),
    *map(str, range(21)),
)


class Case(NamedTuple):
    """A picture, the page that is drawn for it, and the same by plain matplotlib."""

    name: str
    page: Callable[[], Page]
    naive: Callable[[Page], bytes]


class Row(NamedTuple):
    """One line of the result; names and units are those of the JSON."""

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


def one_map(length: int, tokens: tuple[str, ...] = (), causal: bool = False) -> HeatmapData:
    masked = np.triu(np.ones((length, length), np.bool_), 1) & causal
    axis = Axis(length, tokens=tokens)
    return HeatmapData(CAPTION, attention(3, length)[1] * ~masked, masked, axis, axis)


def grid(heads: int, length: int) -> HeadGridData:
    labels = tuple(f"head {head} · H {head / heads:.2f}" for head in range(heads))
    masked = np.zeros((length, length), np.bool_)
    return HeadGridData(
        CAPTION, attention(heads, length), masked, labels, Axis(length), Axis(length)
    )


def comparison(layers: int, length: int) -> LayerComparisonData:
    given = grid(layers, length)
    panels = [
        Panel(f"layer {layer}", values, given.masked, given.queries, given.keys)
        for layer, values in enumerate(given.values)
    ]
    return LayerComparisonData(CAPTION, tuple(panels))


def change(length: int) -> DifferenceData:
    before, after = attention(2, length)
    axis, nothing = Axis(length), np.zeros((length, length), np.bool_)
    return DifferenceData(CAPTION, before, after, nothing, axis, axis)


def matrix(layers: int, heads: int) -> HeadMatrixData:
    numbers = np.random.default_rng(0).random((layers, heads))
    named = tuple((f"decoder {layer}", row.tolist()) for layer, row in enumerate(numbers))
    return HeadMatrixData(CAPTION, "entropy (of its maximum)", named, 0, 1)


def course(layers: int, captures: int) -> TimelineData:
    random, steps = np.random.default_rng(0), np.arange(captures) * 100
    falling = np.exp(-steps / steps.max() * 3)
    entropies = [
        (f"decoder {layer}", 0.4 + falling[:, None] * random.random((captures, 8)) / 2)
        for layer in range(layers)
    ]
    losses = (3 * falling + random.random(captures) / 9).tolist()
    return TimelineData(CAPTION, "entropy", steps.tolist(), tuple(entropies), losses, 0, 1)


def figure_of(page: Page) -> Figure:
    figure = Figure(figsize=(page.width / 100, page.height / 100), dpi=100)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{CAPTION.title}\n{CAPTION.run}")
    return figure


def saved(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def naive_maps(page: Page, tokens: tuple[str, ...] = (), marked: bool = False) -> bytes:
    """Any page of maps; `marked` is an alignment's path and coverage besides."""
    columns, scale = column_count(len(page.maps)), page.maps[0].scale
    figure = figure_of(page)
    axes = figure.subplots(-(-len(page.maps) // columns), columns, squeeze=False)
    norm = FuncNorm((scale.forward, scale.backward), vmin=scale.low, vmax=scale.high)
    for number, (ax, area) in enumerate(zip(axes.flat, page.maps, strict=False)):
        shown = np.ma.masked_array(area.values, area.masked)
        image = ax.imshow(
            shown, cmap=scale.palette.name, norm=norm, interpolation="nearest", aspect="auto"
        )
        ax.set_title(f"head {number} · H 0.41")
        ax.set_xlabel("key position")
        ax.set_ylabel("query position")
        if tokens:
            ax.set_xticks(range(len(tokens)), tokens, rotation=90)
            ax.set_yticks(range(len(tokens)), tokens)
        if marked:
            ax.scatter(area.values.argmax(axis=1), range(len(area.values)), marker="s", s=4)
            beside = ax.inset_axes((0, 1.02, 1, 0.1))
            beside.bar(range(area.values.shape[1]), area.values.sum(axis=0))
            beside.set_axis_off()
    figure.colorbar(image, ax=axes, label=scale.name)
    return saved(figure)


def naive_timeline(data: TimelineData, page: Page) -> bytes:
    figure = figure_of(page)
    axes = figure.subplots(len(data.layers) + 1, 1, sharex=True)
    for ax, (name, numbers) in zip(axes, data.layers, strict=False):
        ax.fill_between(data.steps, numbers.min(axis=1), numbers.max(axis=1), color="0.8")
        ax.plot(data.steps, numbers.mean(axis=1))
        ax.set_ylabel(name)
        ax.set_ylim(0, 1)
    axes[-1].plot(data.steps, data.losses)
    axes[-1].set_ylabel("loss")
    axes[-1].set_xlabel("step")
    return saved(figure)


def naive_surface(data: HeatmapData, page: Page) -> bytes:
    figure = figure_of(page)
    ax: Any = figure.add_subplot(projection="3d")
    length = len(data.values) // 64
    pooled = data.values.reshape(64, length, 64, length).max(axis=(1, 3))
    keys, queries = np.meshgrid(np.arange(64), np.arange(64))
    drawn = ax.plot_surface(keys, queries, np.sqrt(pooled), cmap="viridis", rcount=64, ccount=64)
    ax.set_xlabel("key position")
    ax.set_ylabel("query position")
    figure.colorbar(drawn, label="attention weight")
    return saved(figure)


def cases(quick: bool) -> Iterator[Case]:
    """Each kind of picture, and several sizes of those that are drawn most."""
    tokens = TOKENS[:29]
    yield Case("heat map, 128 × 128", partial(heatmaps.heatmap, one_map(128)), naive_maps)
    words = partial(heatmaps.heatmap, one_map(29, tokens))
    yield Case("heat map, 29 × 29, tokens", words, partial(naive_maps, tokens=tokens))
    causal = partial(heatmaps.heatmap, one_map(512, causal=True))
    yield Case("heat map, 512 × 512, causal", causal, naive_maps)
    for heads, length in ((12, 128),) if quick else ((12, 128), (64, 64)):
        heads_page = partial(heatmaps.head_grid, grid(heads, length))
        yield Case(f"head grid, {heads} × {length} × {length}", heads_page, naive_maps)
    layers = partial(heatmaps.layer_comparison, comparison(6, 128))
    yield Case("layer comparison, 6 × 128 × 128", layers, naive_maps)
    path = partial(alignment, one_map(128))
    yield Case("alignment, 128 × 128", path, partial(naive_maps, marked=True))
    yield Case("difference, 128 × 128", partial(difference, change(128)), naive_maps)
    flow = RolloutData(CAPTION, tuple(attention(6, 128)), Axis(128))
    yield Case("rollout, 6 × 128 × 128", partial(rollout, flow), naive_maps)
    heads_of_layers = partial(head_matrix, matrix(12, 12))
    yield Case("layer × head matrix, 12 × 12", heads_of_layers, naive_maps)
    run = course(6, 200)
    yield Case(
        "timeline, 6 layers, 200 steps", partial(timeline, run), partial(naive_timeline, run)
    )
    land = one_map(128)
    yield Case("surface, 64 × 64", partial(surface, land), partial(naive_surface, land))


def cpu_milliseconds(draw: Callable[[], object], times: int) -> float:
    draw()
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        draw()
        best = min(best, time.process_time() - start)
    return 1000 * best


def differing_pixels(png: Png, page: Page) -> int:
    with matplotlib_defaults():
        figure = matplotlib_reference.matplotlib_figure(page)
        figure.canvas.draw()
        expected = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(png.data)) as image:
        return int((np.asarray(image.convert("RGB")) != expected).any(axis=2).sum())


def measured(case: Case, times: int) -> Row:
    page = case.page()
    png = render_png(page)
    naive_ms = cpu_milliseconds(lambda: case.naive(page), times)
    ours_ms = cpu_milliseconds(lambda: render_png(case.page()), 5 * times)
    differing = differing_pixels(png, page)
    return Row(case.name, naive_ms, ours_ms, naive_ms / ours_ms, len(png.data), differing)


def line(row: Row, page: Page) -> str:
    return (
        f"{row.figure:32} {f'{page.width} × {page.height}':>11} {row.naive_ms:8.0f} ms "
        f"{row.ours_ms:6.1f} ms {row.ratio:5.0f}× {row.bytes:8,} {row.differing_pixels:6}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, fewer times")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when numpy is loaded
        environment = os.environ | dict.fromkeys(THREADS, "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    print(f"{'picture':32} {'pixels':>11} {'matplotlib':>11} {'here':>9}  ratio    bytes  differ")
    rows = []
    for case in cases(options.quick):
        row = measured(case, 3 if options.quick else 9)
        rows.append(row._asdict())
        print(line(row, case.page()), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
