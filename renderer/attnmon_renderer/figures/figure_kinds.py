"""The table of figures: for each kind, its page, the maps that it shows, and where it applies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnmon_renderer.figures.figure_source import FigureSource, Layers, Scope

if TYPE_CHECKING:  # it loads matplotlib, which statistics alone do without
    from attnmon_renderer.drawing import Page

LARGE_SIDE = 1024
"""The most cells a side of a map that fills a figure."""
SMALL_SIDE = 256
"""The most cells a side of a map that is one of several."""
ANIMATION_SIDE = SMALL_SIDE
"""The most cells a side of a map that is a frame of an animation."""


def _always(source: FigureSource, layers: Layers) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class FigureKind:
    """One kind of figure that each capture gives. Its file name is in `storage.paths`."""

    scope: Scope
    """One figure for each layer, or for each group of layers."""
    page: str
    """Name of the function in `pages` that lays it out."""
    average_side: int = 0
    """The most cells a side of the map averaged over heads; 0 if the figure does not show it."""
    head_side: int = 0
    """The most cells a side of the map of each head; 0 if the figure does not show it."""
    applies: Callable[[FigureSource, Layers], bool] = _always
    """Whether the figure can be drawn for these layers."""
    notice: str = ""
    """Tells the user why none was drawn, when it applies to no layers of a capture."""
    concerns: Callable[[FigureSource, Layers], bool] = _always
    """Whether the notice is about these layers; where it is about none, it is not said."""

    def make_page(self, source: FigureSource, layers: Layers) -> "Page":
        """Lay out the figure of these layers."""
        from attnmon_renderer.figures import pages

        make: Callable[[FigureSource, Layers], Page] = getattr(pages, self.page)
        return make(source, layers)


def _is_cross_attention(source: FigureSource, layers: Layers) -> bool:
    return layers[0].type == "cross_attention"


def _can_roll_out(source: FigureSource, layers: Layers) -> bool:
    """Whether flow can be followed: self-attention of every layer from the first, not pooled.

    Each of them from all positions to all: a query that pools them is no layer of a flow.
    """
    maps = [source.analyses[attention].average for attention in layers]
    return (
        [attention.layer for attention in layers] == list(range(len(layers)))
        and layers[0].type == "self_attention"
        and {attention.shape[1:] for attention in layers} == {(layers[0].shape[2],) * 2}
        and all(pooled is not None and pooled.query_step == 1 for pooled in maps)
    )


def _sees_image(source: FigureSource, layers: Layers) -> bool:
    return source.patches_of(layers[0]) is not None


def _can_roll_out_over_image(source: FigureSource, layers: Layers) -> bool:
    grids = [source.patches_of(attention) for attention in layers]
    return None not in grids and _can_roll_out(source, layers)


FIGURE_KINDS: dict[str, FigureKind] = {
    "layer_comparison": FigureKind("group", "layer_comparison", average_side=SMALL_SIDE),
    "head_matrix": FigureKind("group", "head_matrix"),
    "rollout": FigureKind(
        "group",
        "rollout",
        average_side=LARGE_SIDE,
        applies=_can_roll_out,
        notice="no rollout is drawn: it follows self-attention through all layers of a stack, from "
        "the first, and some were not captured, differ in shape or are too long. Set "
        "layers_to_visualize='all'.",
    ),
    "heatmap": FigureKind("layer", "heatmap", average_side=LARGE_SIDE),
    "multi_head": FigureKind("layer", "head_grid", head_side=SMALL_SIDE),
    "alignment": FigureKind(
        "layer",
        "alignment",
        average_side=LARGE_SIDE,
        applies=_is_cross_attention,
        notice="no alignment is drawn: it is of cross-attention, and none was captured. A model of "
        "one stack has none; of an encoder-decoder, choose other layers_to_visualize.",
    ),
    "surface3d": FigureKind("layer", "surface", average_side=LARGE_SIDE),
    "image_overlay": FigureKind("layer", "image_overlay", applies=_sees_image),
    "rollout_overlay": FigureKind(
        "group",
        "rollout_overlay",
        average_side=LARGE_SIDE,
        applies=_can_roll_out_over_image,
        notice="no rollout is laid over the image: it follows self-attention through all layers of "
        "a stack, from the first, and some were not captured, do not see the same patches or are "
        "too long. Set layers_to_visualize='all'.",
        concerns=_sees_image,
    ),
}
"""By the name in `visualization_types`."""
