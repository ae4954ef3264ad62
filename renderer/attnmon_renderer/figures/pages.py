"""The page of each kind of figure: its data from a capture's analyses, laid out by its chart."""

from attnmon.link.messages import Attention
from attnmon_renderer import drawing
from attnmon_renderer.drawing import (
    HeadGridData,
    HeadMatrixData,
    HeatmapData,
    LayerComparisonData,
    Page,
    Panel,
    RolloutData,
)
from attnmon_renderer.figures import captions
from attnmon_renderer.figures.figure_source import FigureSource, Layers


def heatmap_data(source: FigureSource, attention: Attention) -> HeatmapData:
    """Return the data of one layer's map, averaged over the captured heads."""
    pooled = source.average_map(attention)
    heads = captions.describe_average(attention)
    return HeatmapData(
        captions.layer_caption(source.capture, attention, pooled, heads),
        pooled.values,
        pooled.masked,
        *captions.axes(source.capture, attention, pooled),
        top=source.top,
    )


def heatmap(source: FigureSource, layers: Layers) -> Page:
    """Lay out one layer's map, averaged over heads."""
    return drawing.heatmap(heatmap_data(source, layers[0]))


def alignment(source: FigureSource, layers: Layers) -> Page:
    """Lay out one layer's map with the strongest key of each query."""
    return drawing.alignment(heatmap_data(source, layers[0]))


def surface(source: FigureSource, layers: Layers) -> Page:
    """Lay out one layer's map as a surface."""
    return drawing.surface(heatmap_data(source, layers[0]))


def head_grid(source: FigureSource, layers: Layers) -> Page:
    """Lay out the maps of a layer's heads side by side."""
    attention = layers[0]
    pooled = source.head_maps(attention)
    heads = captions.describe_heads(attention)
    data = HeadGridData(
        captions.layer_caption(source.capture, attention, pooled, heads),
        pooled.values,
        pooled.masked,
        captions.head_labels(attention, source.analyses[attention]),
        *captions.axes(source.capture, attention, pooled),
        top=source.top,
    )
    return drawing.head_grid(data)


def layer_comparison(source: FigureSource, layers: Layers) -> Page:
    """Lay out the maps of a group's layers side by side."""
    panels = []
    for attention in layers:
        pooled = source.average_map(attention)
        axes = captions.axes(source.capture, attention, pooled)
        panels.append(Panel(f"layer {attention.layer}", pooled.values, pooled.masked, *axes))
    heads = captions.describe_average(layers[0])
    caption = captions.group_caption(source.capture, layers[0], "by layer", heads)
    return drawing.layer_comparison(LayerComparisonData(caption, tuple(panels), source.top))


def head_matrix(source: FigureSource, layers: Layers) -> Page:
    """Lay out the entropy of every head of a group's layers."""
    rows = tuple(
        (f"layer {attention.layer}", source.analyses[attention].statistics.heads["entropy"])
        for attention in layers
    )
    note = "0: one key · 1: all keys alike"
    caption = captions.group_caption(source.capture, layers[0], "entropy", note)
    return drawing.head_matrix(HeadMatrixData(caption, captions.ENTROPY, rows, low=0.0, high=1.0))


def rollout(source: FigureSource, layers: Layers) -> Page:
    """Lay out the attention rollout through a group's layers."""
    maps = [source.average_map(attention) for attention in layers]
    note = f"Abnar and Zuidema 2020 · layers 0 to {layers[-1].layer}, heads averaged"
    caption = captions.group_caption(source.capture, layers[0], "rolled out", note)
    positions, _ = captions.axes(source.capture, layers[0], maps[0])
    values = tuple(pooled.values for pooled in maps)
    return drawing.rollout(RolloutData(caption, values, positions, source.top))
