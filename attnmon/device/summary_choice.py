"""Whether the summary of a layer tells all that is to be told of it, and how large its map is."""

from attnmon.device.layer_tensors import LayerTensors
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.records.run_setup import RenderOptions
from attnmon.link.summaries.picture_sides import AVERAGE_SIDES, HEAD_SIDES, SINGLE_ROWS


class SummaryChoice:
    """What the user's options ask of layers, and what was learned of their masks."""

    def __init__(self, options: RenderOptions) -> None:
        self._options = options
        self._masked_stacks: set[str] = set()
        """Those whose self-attention has a mask, which tells which queries are padding."""

    def side(self, layer: SelectedLayer) -> int | None:
        """Return the most cells a side of the heads' maps; None where none is asked for."""
        return min(self._sides(layer), default=None)

    def average_side(self, layer: SelectedLayer) -> int | None:
        """Return the same of the mean over heads."""
        pictures = self._options.pictures if layer.drawn else ()
        sides = (AVERAGE_SIDES[kind] for kind in pictures if kind in AVERAGE_SIDES)
        return max(sides, default=None)

    def has_window(self, layer: SelectedLayer) -> bool:
        """Return whether a picture shows weights of single queries, which are in no map."""
        return layer.drawn and not {*SINGLE_ROWS}.isdisjoint(self._options.pictures)

    def why_not(self, layer: SelectedLayer, tensors: LayerTensors) -> str:
        """Return what a layer's summary would not tell; empty if it tells all."""
        return self._mask_reason(layer, tensors) or self._picture_reason(layer, tensors)

    def _mask_reason(self, layer: SelectedLayer, tensors: LayerTensors) -> str:
        stack = layer.role.stack
        if layer.role.type == "self_attention":
            if tensors.bias is not None:
                self._masked_stacks.add(stack)
            return ""
        if stack in self._masked_stacks:
            return "the mask of another layer tells which of its queries are padding"
        return ""

    def _picture_reason(self, layer: SelectedLayer, tensors: LayerTensors) -> str:
        options, sides = self._options, self._sides(layer)
        if layer.drawn and options.raw_weights:
            return "all its weights are asked for"
        if self.has_window(layer) and tensors.bias is not None:
            return "its single weights are asked for, and some are masked"
        if layer.drawn and options.pooling != "mass":
            return "its pictures are pooled by the largest weight"
        if len(sides) > 1 and max(tensors.shape[1:]) > min(sides):
            return "the pictures of its heads are larger than the maps that are stored"
        return ""

    def _sides(self, layer: SelectedLayer) -> set[int]:
        """Return the sides of all maps that are made of each head."""
        options = self._options
        shown = {HEAD_SIDES[kind] for kind in options.pictures if kind in HEAD_SIDES}
        is_stored = options.maps == "all" or (
            options.maps == "drawn" and layer.drawn and bool(options.pictures)
        )
        stored = {options.maps_side} if is_stored else set()
        return stored | (shown if layer.drawn else set())
