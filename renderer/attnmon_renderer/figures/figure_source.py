"""What the figures of a capture are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.sample_image import PatchedLayer
from attnmon_renderer.analysis.arrays import Pixels
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, PooledMap
from attnmon_renderer.storage import paths

Analyses = Mapping[Attention, LayerAnalysis]
Layers = Sequence[Attention]
Scope = Literal["layer", "group"]


@dataclass(frozen=True, slots=True)
class FigureSource:
    """A capture and the analyses of its layers."""

    capture: Capture
    analyses: Analyses
    top: float | None = None
    """The weight at which the colour scale of weights ends; None chooses a round number for each
    figure."""
    pixels: Pixels | None = None
    """The sample's image, where it was sent."""

    def layers_of(self, scope: Scope) -> list[Layers]:
        """Return the layers that one figure each shows: single layers, or groups of layers.

        A group is all layers of one stack and one type of attention, from the first to the last.
        """
        if scope == "layer":
            return [[attention] for attention in self.analyses]
        groups: dict[paths.LayerGroup, list[Attention]] = {}
        for attention in self.analyses:
            groups.setdefault(paths.layer_group(attention), []).append(attention)
        return [sorted(layers, key=lambda layer: layer.layer) for layers in groups.values()]

    def patches_of(self, attention: Attention) -> PatchedLayer | None:
        """Return how a layer sees the sample's image; None where it does not, or there is none."""
        image = self.capture.image
        return None if image is None or self.pixels is None else image.patches_of(attention)

    def average_map(self, attention: Attention) -> PooledMap:
        """Return the layer's map averaged over heads, which `map_sizes` has requested."""
        pooled = self.analyses[attention].average
        assert pooled is not None
        return pooled

    def head_maps(self, attention: Attention) -> PooledMap:
        """Return the maps of the layer's heads, which `map_sizes` has requested."""
        pooled = self.analyses[attention].per_head
        assert pooled is not None
        return pooled
