"""The figures of the benchmark: made-up data, our page of it, and the same by plain matplotlib."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure

from attnmon_renderer import drawing
from attnmon_renderer.drawing import (
    Axis,
    Caption,
    DifferenceData,
    HeadGridData,
    HeadMatrixData,
    HeadRange,
    HeatmapData,
    LayerComparisonData,
    Page,
    Panel,
    RolloutData,
    TimelineData,
)
from attnmon_renderer.drawing.layout.panel_grid import column_count

Array = npt.NDArray[Any]

CAPTION = Caption("decoder layer 0 · self-attention", "step 1,200 · epoch 3 · loss 0.123")
TOKENS = (
    *("the", "model", "reads", "and", "restores", "▁what", "Ġwas", "lost"),
    *map(str, range(21)),
)


class Case(NamedTuple):
    """One figure to measure."""

    name: str
    page: Callable[[], Page]
    """Lays out our page."""
    naive: Callable[[Page], bytes]
    """Draws the same content by plain matplotlib, at the size of our page."""


def attention(heads: int, length: int) -> Array:
    """Return [heads, length, length]: softmax of noise, diagonals of several widths, and a sink."""
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


def falling_entropies(layers: int, captures: int) -> TimelineData:
    random, steps = np.random.default_rng(0), np.arange(captures) * 100
    falling = np.exp(-steps / steps.max() * 3)
    entropies = [
        (
            f"decoder {layer}",
            HeadRange.of_heads(0.4 + falling[:, None] * random.random((captures, 8)) / 2),
        )
        for layer in range(layers)
    ]
    losses = (3 * falling + random.random(captures) / 9).tolist()
    return TimelineData(CAPTION, "entropy", steps.tolist(), tuple(entropies), losses, 0, 1)


def figure_of(page: Page) -> Figure:
    figure = Figure(figsize=(page.width / 100, page.height / 100), dpi=100)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{CAPTION.title}\n{CAPTION.run}")
    return figure


def png_bytes(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def naive_maps(page: Page, tokens: tuple[str, ...] = (), marked: bool = False) -> bytes:
    """Draw any page of maps; `marked` adds an alignment's marks and coverage."""
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
    return png_bytes(figure)


def naive_timeline(data: TimelineData, page: Page) -> bytes:
    figure = figure_of(page)
    axes = figure.subplots(len(data.layers) + 1, 1, sharex=True)
    for ax, (name, heads) in zip(axes, data.layers, strict=False):
        ax.fill_between(data.steps, heads.low, heads.high, color="0.8")
        ax.plot(data.steps, heads.mean)
        ax.set_ylabel(name)
        ax.set_ylim(0, 1)
    axes[-1].plot(data.steps, data.losses)
    axes[-1].set_ylabel("loss")
    axes[-1].set_xlabel("step")
    return png_bytes(figure)


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
    return png_bytes(figure)


def cases(quick: bool) -> Iterator[Case]:
    """Yield each kind of figure, and several sizes of those that are drawn most."""
    tokens = TOKENS[:29]
    yield Case("heat map, 128 × 128", partial(drawing.heatmap, one_map(128)), naive_maps)
    tokens_page = partial(drawing.heatmap, one_map(29, tokens))
    yield Case("heat map, 29 × 29, tokens", tokens_page, partial(naive_maps, tokens=tokens))
    causal = partial(drawing.heatmap, one_map(512, causal=True))
    yield Case("heat map, 512 × 512, causal", causal, naive_maps)
    for heads, length in ((12, 128),) if quick else ((12, 128), (64, 64)):
        heads_page = partial(drawing.head_grid, grid(heads, length))
        yield Case(f"head grid, {heads} × {length} × {length}", heads_page, naive_maps)
    layers = partial(drawing.layer_comparison, comparison(6, 128))
    yield Case("layer comparison, 6 × 128 × 128", layers, naive_maps)
    path = partial(drawing.alignment, one_map(128))
    yield Case("alignment, 128 × 128", path, partial(naive_maps, marked=True))
    yield Case("difference, 128 × 128", partial(drawing.difference, change(128)), naive_maps)
    rollout_data = RolloutData(CAPTION, tuple(attention(6, 128)), Axis(128))
    yield Case("rollout, 6 × 128 × 128", partial(drawing.rollout, rollout_data), naive_maps)
    heads_of_layers = partial(drawing.head_matrix, matrix(12, 12))
    yield Case("layer × head matrix, 12 × 12", heads_of_layers, naive_maps)
    run = falling_entropies(6, 200)
    yield Case(
        "timeline, 6 layers, 200 steps",
        partial(drawing.timeline, run),
        partial(naive_timeline, run),
    )
    surface_data = one_map(128)
    yield Case(
        "surface, 64 × 64",
        partial(drawing.surface, surface_data),
        partial(naive_surface, surface_data),
    )
