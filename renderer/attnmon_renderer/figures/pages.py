"""The page of each kind of figure: its data from a capture's analyses, laid out by its chart."""

from dataclasses import replace

import numpy as np

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.sample_image import PatchedLayer
from attnmon_renderer import drawing
from attnmon_renderer.analysis.arrays import Doubles
from attnmon_renderer.analysis.patch_rows import patch_row
from attnmon_renderer.drawing import (
    Caption,
    HeadGridData,
    HeadMatrixData,
    HeatmapData,
    ImageOverlayData,
    LayerComparisonData,
    Page,
    Panel,
    RolloutData,
)
from attnmon_renderer.figures import captions
from attnmon_renderer.figures.figure_source import FigureSource, Layers
from attnmon_renderer.storage import paths


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


def image_overlay(source: FigureSource, layers: Layers) -> Page:
    """Lay out what the patches of the sample's image get of one layer's attention."""
    attention = layers[0]
    patches, rows = source.patches_of(attention), source.analyses[attention].patch_rows
    assert patches is not None
    if rows is None:
        raise ValueError(
            f"{patches.earlier} tokens come before its patches, more than a device sends: leave "
            "out on_device"
        )
    weights = rows.mean(axis=0, dtype=np.float64)
    note = captions.overlay_note(patches, attention, weights, captions.describe_average(attention))
    caption = captions.overlay_caption(source.capture, paths.layer_title(attention), note)
    return drawing.image_overlay(_overlay_data(source, caption, patches, weights))


def rollout_overlay(source: FigureSource, layers: Layers) -> Page:
    """Lay out what reaches the last layer of each patch of the sample's image."""
    patches = source.patches_of(layers[-1])
    assert patches is not None
    flow = drawing.attention_flow([source.average_map(each).values for each in layers])
    weights = patch_row(flow, patches).astype(np.float64)
    note = captions.overlay_note(
        patches, layers[-1], weights, f"layers 0 to {layers[-1].layer}, heads averaged"
    )
    title = f"{paths.layer_title(layers[-1]).partition(' ')[0]} · attention rolled out"
    caption = captions.overlay_caption(source.capture, title, note)
    data = _overlay_data(source, caption, patches, weights)
    return drawing.image_overlay(replace(data, measure="flow of attention"))


def _overlay_data(
    source: FigureSource, caption: Caption, patches: PatchedLayer, weights: Doubles
) -> ImageOverlayData:
    assert source.pixels is not None
    of_patches = weights[patches.earlier :][: patches.rows * patches.columns]
    values = of_patches.reshape(patches.rows, patches.columns).astype(np.float32)
    return ImageOverlayData(caption, values, source.pixels, source.top)
