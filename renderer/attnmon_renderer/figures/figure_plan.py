"""The plan of a capture: which figures it gives, and how large the maps must be that they show."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from attnmon.link.messages import Capture
from attnmon.link.records.run_setup import RenderOptions
from attnmon_renderer.analysis.arrays import Pixels
from attnmon_renderer.figures.figure_kinds import ANIMATION_SIDE, FIGURE_KINDS, FigureKind
from attnmon_renderer.figures.figure_source import Analyses, FigureSource, Layers
from attnmon_renderer.storage import paths

if TYPE_CHECKING:
    from attnmon_renderer.drawing import Page


@dataclass(frozen=True, slots=True)
class MapSizes:
    """The largest size of the maps that an analysis has to make, in cells a side."""

    average_side: int | None
    """Of the map averaged over heads; None if no figure shows it."""
    head_side: int | None
    """Of the map of each head; None if no figure shows it."""


NO_MAPS = MapSizes(None, None)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that is planned and not drawn yet."""

    name: str
    """File name without suffix."""
    tag: str
    """TensorBoard tag."""
    make_page: Callable[[], "Page"]
    """Lays out the figure's page."""


def map_sizes(options: RenderOptions) -> MapSizes:
    """Return the map sizes that the requested figures need."""
    kinds = [kind for name, kind in FIGURE_KINDS.items() if name in options.pictures]
    moving = ANIMATION_SIDE if "animation" in options.pictures else 0
    average = max([moving, *(kind.average_side for kind in kinds)])
    head = max((kind.head_side for kind in kinds), default=0)
    return MapSizes(average or None, head or None)


def plan_figures(
    capture: Capture, options: RenderOptions, analyses: Analyses, pixels: Pixels | None = None
) -> Iterator[Figure]:
    """Yield the figures of a capture: layer by layer, then those over the layers of a group.

    `pixels`: the sample's image, where it was sent.
    """
    source = FigureSource(capture, analyses, options.color_top, pixels)
    for scope in ("layer", "group"):
        for layers in source.layers_of(scope):
            for name, kind in _requested(options):
                if kind.scope == scope and kind.applies(source, layers):
                    yield _figure(name, kind, source, layers)


def missing_figure_notices(
    options: RenderOptions, capture: Capture, analyses: Analyses, pixels: Pixels | None = None
) -> tuple[tuple[str, str], ...]:
    """Return (kind, text) for each requested kind of figure that applies to none of the layers."""
    source = FigureSource(capture, analyses, pixels=pixels)
    return tuple(
        (name, kind.notice)
        for name, kind in _requested(options)
        if kind.notice and _is_missing(kind, source)
    )


def _is_missing(kind: FigureKind, source: FigureSource) -> bool:
    layers = source.layers_of(kind.scope)
    concerned = any(kind.concerns(source, each) for each in layers)
    return concerned and not any(kind.applies(source, each) for each in layers)


def _requested(options: RenderOptions) -> Iterator[tuple[str, FigureKind]]:
    return ((name, kind) for name, kind in FIGURE_KINDS.items() if name in options.pictures)


def _figure(name: str, kind: FigureKind, source: FigureSource, layers: Layers) -> Figure:
    return Figure(
        paths.figure_name(name, layers[0]),
        paths.figure_tag(name, layers[0]),
        partial(kind.make_page, source, layers),
    )
