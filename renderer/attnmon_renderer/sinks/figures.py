"""Which pictures a capture gives, what they are called, and their way to the disk."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from attnmon.link.messages import Attention, Capture, Setup
from attnmon_renderer import files, layout
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
)
from attnmon_renderer.pooling import PooledMap, Survey
from attnmon_renderer.results import Image

MAP_SIDE = 1024
"""Cells a side of one large map, at most."""
GRID_SIDE = 256
"""Cells a side of a map that stands among others, at most."""

Surveys = Mapping[Attention, Survey]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How large the maps must be that the pictures ask for; None is not at all."""

    average_side: int | None
    head_side: int | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture still to be drawn."""

    name: str
    tag: str
    draw: Callable[[], Png]


def wanted(setup: Setup) -> Wanted:
    pictures = setup.pictures
    average = MAP_SIDE if "heatmap" in pictures else None
    if average is None and "layer_comparison" in pictures:
        average = GRID_SIDE
    return Wanted(average, GRID_SIDE if "multi_head" in pictures else None)


def plan(capture: Capture, setup: Setup, surveys: Surveys) -> Iterator[Figure]:
    """The pictures of a capture, in the order of their layers."""
    for attention, survey in surveys.items():
        if "heatmap" in setup.pictures:
            yield _heat_map(capture, attention, survey)
        if "multi_head" in setup.pictures:
            yield _head_grid(capture, attention, survey)
    if "layer_comparison" in setup.pictures:
        yield from _comparisons(capture, surveys)


def write(figure: Figure, folder: Path) -> Image:
    """Draw the picture once, for the disk and for TensorBoard. Raises OSError."""
    png = figure.draw()
    files.replace(folder / figure.name, png.data)
    return Image(figure.tag, png.width, png.height, png.data)


def _heat_map(capture: Capture, attention: Attention, survey: Survey) -> Figure:
    def draw() -> Png:
        pooled = _there(survey.average)
        caption = _caption(capture, attention, pooled, _which_heads(attention))
        axes = _axes(capture, attention, pooled)
        return heat_map(MapPicture(caption, pooled.values, pooled.masked, *axes))

    return Figure(f"{layout.stem(attention)}.png", layout.image_tag(attention), draw)


def _head_grid(capture: Capture, attention: Attention, survey: Survey) -> Figure:
    def draw() -> Png:
        pooled = _there(survey.per_head)
        caption = _caption(capture, attention, pooled, _heads(attention))
        labels = _head_labels(attention, survey)
        axes = _axes(capture, attention, pooled)
        return head_grid(GridPicture(caption, pooled.values, pooled.masked, labels, *axes))

    name = f"{layout.stem(attention)}_heads.png"
    return Figure(name, f"{layout.image_tag(attention)}_heads", draw)


def _comparisons(capture: Capture, surveys: Surveys) -> Iterator[Figure]:
    for kind in dict.fromkeys(layout.kind(attention) for attention in surveys):
        layers = [attention for attention in surveys if layout.kind(attention) == kind]
        stem = layout.comparison_stem(kind)
        draw = partial(_compare, capture, layers, surveys)
        yield Figure(f"{stem}.png", f"attention/{stem}", draw)


def _compare(capture: Capture, layers: list[Attention], surveys: Surveys) -> Png:
    panels = []
    for attention in sorted(layers, key=lambda attention: attention.layer):
        pooled = _there(surveys[attention].average)
        axes = _axes(capture, attention, pooled)
        panels.append(Panel(f"layer {attention.layer}", pooled.values, pooled.masked, *axes))
    first = layers[0]
    title = f"{first.stack} {layout.SHORT_TYPE[first.type]}-attention by layer"
    caption = Caption(title, _run_line(capture), _which_heads(first))
    return layer_comparison(ComparisonPicture(caption, tuple(panels)))


def _there(pooled: PooledMap | None) -> PooledMap:
    """The map that `wanted` has asked for."""
    assert pooled is not None
    return pooled


def _axes(capture: Capture, attention: Attention, pooled: PooledMap) -> tuple[Axis, Axis]:
    _, queries, keys = attention.shape
    own = capture.encoder_tokens if attention.stack == "encoder" else capture.decoder_tokens
    attended = capture.encoder_tokens if attention.type == "cross_attention" else own
    return (
        Axis(queries, pooled.query_step, _fitting(own, queries)),
        Axis(keys, pooled.key_step, _fitting(attended, keys)),
    )


def _fitting(tokens: tuple[str, ...], length: int) -> tuple[str, ...]:
    """Tokens label an axis only when there is one for each position."""
    return tokens if len(tokens) == length else ()


def _caption(capture: Capture, attention: Attention, pooled: PooledMap, heads: str) -> Caption:
    notes = [heads]
    if pooled.query_step > 1 or pooled.key_step > 1:
        notes.append(f"pooled {pooled.query_step}×{pooled.key_step} by {pooled.pooling}")
    if attention.note:
        notes.append(f"approximate: {attention.note}")
    return Caption(layout.title(attention), _run_line(capture), " · ".join(notes))


def _run_line(capture: Capture) -> str:
    parts = [f"step {capture.step:,}"]
    if capture.epoch is not None:
        parts.append(f"epoch {capture.epoch}")
    if capture.loss is not None:
        parts.append(f"loss {capture.loss:.4g}")
    return " · ".join(parts)


def _which_heads(attention: Attention) -> str:
    heads = attention.heads
    if len(heads) == 1:
        return f"head {heads[0]}"
    if heads == tuple(range(len(heads))):
        return f"average of {len(heads)} heads"
    return f"average of heads {', '.join(map(str, heads))}"


def _heads(attention: Attention) -> str:
    count = len(attention.heads)
    return f"{count} heads" if count > 1 else f"head {attention.heads[0]}"


def _head_labels(attention: Attention, survey: Survey) -> tuple[str, ...]:
    entropies = survey.statistics.heads.get("entropy", [])
    labels = [f"head {head}" for head in attention.heads]
    if len(entropies) != len(labels):
        return tuple(labels)
    return tuple(
        f"{label} · entropy {entropy:.2f}" if math.isfinite(entropy) else label
        for label, entropy in zip(labels, entropies, strict=True)
    )
