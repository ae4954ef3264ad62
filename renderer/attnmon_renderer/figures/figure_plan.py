"""Which pictures a capture gives, what they are called, and their way to the disk."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from attnmon.link.messages import Attention, Capture, RenderOptions
from attnmon_renderer import drawing
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, PooledMap
from attnmon_renderer.drawing import (
    Caption,
    HeadGridData,
    HeadMatrixData,
    HeatmapData,
    LayerComparisonData,
    Page,
    Panel,
    RolloutData,
    render_png,
    render_vector,
)
from attnmon_renderer.figures import captions
from attnmon_renderer.results import AnimationFrame, RenderedImage
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.step_folder import StepOutput

MAP_SIDE = 1024
"""Cells a side of one large map, at most."""
GRID_SIDE = 256
"""Cells a side of a map that stands among others, or moves, at most."""
ENTROPY = "entropy (of its maximum)"

Analyses = Mapping[Attention, LayerAnalysis]
Top = float | None  # where the colours end; None: a round number above the largest weight

_LARGE = {"heatmap", "alignment", "rollout", "surface3d"}
_SMALL = {"layer_comparison", "animation"}


NO_ROLLOUT = (
    "no rollout is drawn: it follows self-attention through all layers of a stack, from the first, "
    "and some were not captured, differ in shape or are too long. Set layers_to_visualize='all'."
)
NO_ALIGNMENT = (
    "no alignment is drawn: it is of cross-attention, and none was captured. A model of one stack "
    "has none; of an encoder-decoder, choose other layers_to_visualize."
)


@dataclass(frozen=True, slots=True)
class MapSizes:
    """How large the maps must be that the pictures ask for; None is not at all."""

    average_side: int | None
    head_side: int | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture still to be drawn."""

    name: str
    """Of the file, without its suffix."""
    tag: str
    page: Callable[[], Page]


def map_sizes(options: RenderOptions) -> MapSizes:
    """What the survey of a layer has to give for the pictures asked for."""
    pictures = set(options.pictures)
    average = MAP_SIDE if pictures & _LARGE else GRID_SIDE if pictures & _SMALL else None
    return MapSizes(average, GRID_SIDE if "multi_head" in pictures else None)


def plan_figures(capture: Capture, options: RenderOptions, analyses: Analyses) -> Iterator[Figure]:
    """The pictures of a capture: layer by layer, then those over the layers of a kind."""
    for attention in analyses:
        for kind, page in _OF_A_LAYER.items():
            if kind in options.pictures and _applies(kind, attention):
                page_of = partial(page, capture, attention, analyses, options.color_top)
                yield _figure(kind, attention, page_of)
    for layers in _kinds(analyses):
        for kind, comparing in _OVER_LAYERS.items():
            if kind in options.pictures and (kind != "rollout" or _rolls_out(layers, analyses)):
                stem = paths.over_layers(kind, paths.kind(layers[0]))
                page_of = partial(comparing, capture, layers, analyses, options.color_top)
                yield Figure(stem, f"attention/{stem}", page_of)


def missing_figure_notices(
    options: RenderOptions, analyses: Analyses
) -> tuple[tuple[str, str], ...]:
    """(kind, text): what was asked for, and cannot be drawn of these layers."""
    found = []
    if "rollout" in options.pictures and not any(_rolls_out(k, analyses) for k in _kinds(analyses)):
        found.append(("rollout", NO_ROLLOUT))
    if "alignment" in options.pictures and not any(_applies("alignment", one) for one in analyses):
        found.append(("alignment", NO_ALIGNMENT))
    return tuple(found)


def write_figure(
    figure: Figure, place: StepOutput, image_format: Literal["png", "svg", "pdf"]
) -> RenderedImage:
    """Draw the picture: once for TensorBoard and, as a PNG, for the disk. Raises OSError."""
    page = figure.page()
    png = render_png(page)
    content = png.data if image_format == "png" else render_vector(page, image_format)
    place.put(f"{figure.name}.{image_format}", content)
    return RenderedImage(figure.tag, png.width, png.height, png.data)


def animation_frames(
    capture: Capture, options: RenderOptions, analyses: Analyses
) -> list[AnimationFrame]:
    """One frame of each layer's animation, for the recorder to add."""
    if "animation" not in options.pictures:
        return []
    return [
        AnimationFrame.from_heatmap(
            paths.stem(attention), heatmap_data(capture, attention, analyses, top=1.0)
        )
        for attention in analyses
    ]


def _figure(kind: str, attention: Attention, page: Callable[[], Page]) -> Figure:
    suffix = _SUFFIX[kind]
    return Figure(paths.stem(attention) + suffix, paths.image_tag(attention) + suffix, page)


def _applies(kind: str, attention: Attention) -> bool:
    return kind != "alignment" or attention.type == "cross_attention"


def _kinds(analyses: Analyses) -> list[list[Attention]]:
    """The layers of each kind, from the first to the last."""
    kinds = dict.fromkeys(paths.kind(attention) for attention in analyses)
    return [
        sorted((a for a in analyses if paths.kind(a) == kind), key=lambda a: a.layer)
        for kind in kinds
    ]


def heatmap_data(
    capture: Capture, attention: Attention, analyses: Analyses, top: Top = None
) -> HeatmapData:
    """One layer's map, averaged over the heads that were taken."""
    pooled = _there(analyses[attention].average)
    caption = captions.layer_caption(
        capture, attention, pooled, captions.describe_average(attention)
    )
    axes = captions.axes(capture, attention, pooled)
    return HeatmapData(caption, pooled.values, pooled.masked, *axes, top=top)


def _heat_map(capture: Capture, attention: Attention, analyses: Analyses, top: Top) -> Page:
    return drawing.heatmap(heatmap_data(capture, attention, analyses, top))


def _alignment(capture: Capture, attention: Attention, analyses: Analyses, top: Top) -> Page:
    return drawing.alignment(heatmap_data(capture, attention, analyses, top))


def _surface(capture: Capture, attention: Attention, analyses: Analyses, top: Top) -> Page:
    return drawing.surface(heatmap_data(capture, attention, analyses, top))


def _head_grid(capture: Capture, attention: Attention, analyses: Analyses, top: Top) -> Page:
    survey = analyses[attention]
    pooled = _there(survey.per_head)
    caption = captions.layer_caption(capture, attention, pooled, captions.describe_heads(attention))
    labels = captions.head_labels(attention, survey)
    axes = captions.axes(capture, attention, pooled)
    picture = HeadGridData(caption, pooled.values, pooled.masked, labels, *axes, top=top)
    return drawing.head_grid(picture)


def _comparison(capture: Capture, layers: list[Attention], analyses: Analyses, top: Top) -> Page:
    panels = []
    for attention in layers:
        pooled = _there(analyses[attention].average)
        axes = captions.axes(capture, attention, pooled)
        panels.append(Panel(f"layer {attention.layer}", pooled.values, pooled.masked, *axes))
    caption = _caption(capture, layers, "by layer", captions.describe_average(layers[0]))
    return drawing.layer_comparison(LayerComparisonData(caption, tuple(panels), top))


def _head_matrix(capture: Capture, layers: list[Attention], analyses: Analyses, top: Top) -> Page:
    rows = tuple(
        (f"layer {attention.layer}", analyses[attention].statistics.heads["entropy"])
        for attention in layers
    )
    note = "0: one key · 1: all keys alike"
    caption = _caption(capture, layers, "entropy", note)
    return drawing.head_matrix(HeadMatrixData(caption, ENTROPY, rows, low=0.0, high=1.0))


def _rollout(capture: Capture, layers: list[Attention], analyses: Analyses, top: Top) -> Page:
    maps = [_there(analyses[attention].average) for attention in layers]
    note = f"Abnar and Zuidema 2020 · layers 0 to {layers[-1].layer}, heads averaged"
    caption = _caption(capture, layers, "rolled out", note)
    positions, _ = captions.axes(capture, layers[0], maps[0])
    return drawing.rollout(
        RolloutData(caption, tuple(pooled.values for pooled in maps), positions, top)
    )


def _rolls_out(layers: list[Attention], analyses: Analyses) -> bool:
    """Whether flow can be followed: self-attention of every layer from the first, not pooled."""
    whole = [attention.layer for attention in layers] == list(range(len(layers)))
    maps = [analyses[attention].average for attention in layers]
    shapes = {attention.shape[1:] for attention in layers}
    return (
        whole
        and layers[0].type == "self_attention"
        and len(shapes) == 1
        and all(pooled is not None and pooled.query_step == 1 for pooled in maps)
    )


def _caption(capture: Capture, layers: list[Attention], what: str, note: str) -> Caption:
    stack, type_ = paths.kind(layers[0])
    title = f"{stack} {paths.SHORT_TYPE[type_]}-attention · {what}"
    return Caption(title, captions.run_line(capture), note)


def _there(pooled: PooledMap | None) -> PooledMap:
    """The map that `wanted` has asked for."""
    assert pooled is not None
    return pooled


_OF_A_LAYER: dict[str, Callable[[Capture, Attention, Analyses, Top], Page]] = {
    "heatmap": _heat_map,
    "multi_head": _head_grid,
    "alignment": _alignment,
    "surface3d": _surface,
}
_SUFFIX = {"heatmap": "", "multi_head": "_heads", "alignment": "_alignment", "surface3d": "_3d"}
_OVER_LAYERS: dict[str, Callable[[Capture, list[Attention], Analyses, Top], Page]] = {
    "layer_comparison": _comparison,
    "head_matrix": _head_matrix,
    "rollout": _rollout,
}
