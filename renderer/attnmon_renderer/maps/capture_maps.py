"""The maps of a capture: collected layer by layer, then written."""

import math
from collections.abc import Mapping

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.run_setup import RenderOptions
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.maps import maps_writer
from attnmon_renderer.maps.map_collector import MapCollector
from attnmon_renderer.sinks import safetensors
from attnmon_renderer.sinks.safetensors import Tensor
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.step_folder import StepOutput

MOST_WEIGHTS = 2 * 10**9
"""Of a capture with more, evenly spaced queries are taken."""


class CaptureMaps:
    """The maps of those layers of a capture that the options ask for."""

    def __init__(self, layers: Mapping[Attention, LayerAttention], options: RenderOptions) -> None:
        is_wanted = options.maps == "all" or (options.maps == "drawn" and bool(options.pictures))
        self._wanted = {
            attention: layer
            for attention, layer in layers.items()
            if is_wanted and 0 not in layer.shape and (attention.drawn or options.maps == "all")
        }
        weights = sum(math.prod(layer.shape) for layer in self._wanted.values())
        self._share = min(1.0, MOST_WEIGHTS / max(1, weights))
        self._side = options.maps_side
        self._tensors: list[Tensor] = []
        self._about: dict[str, str] = {}

    def __contains__(self, attention: Attention) -> bool:
        return attention in self._wanted

    def collector(self, attention: Attention) -> MapCollector | None:
        """Return what collects a layer's maps in its analysis; None if they are not wanted."""
        layer = self._wanted.get(attention)
        return None if layer is None else MapCollector(layer, self._side, self._share)

    def add(self, attention: Attention, collector: MapCollector) -> None:
        """Keep what was collected, as codes: a quarter of the memory."""
        stem = paths.stem(attention)
        self._tensors += maps_writer.tensors(stem, collector)
        self._about |= maps_writer.layer_metadata(stem, attention, collector)

    def write(self, output: StepOutput, capture: Capture) -> None:
        """Add the file to those of the step, if there are any maps. Raises OSError."""
        if self._tensors:
            about = {**maps_writer.metadata(capture), **self._about}
            output.put(paths.MAPS, safetensors.content(self._tensors, about))
