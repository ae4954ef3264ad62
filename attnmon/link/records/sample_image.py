"""The image that a vision model saw, and which layers see its patches."""

from dataclasses import dataclass

from attnmon.link.records.attention_record import Attention, AttentionType, Stack
from attnmon.link.records.ring_blocks import LONGEST_SIDE, ArrayBlock
from attnmon.link.records.schema import require

LONGEST_IMAGE_SIDE = 256
"""The most pixels a side of a sample's image."""


@dataclass(frozen=True, slots=True)
class PatchedLayer:
    """A layer whose positions are the patches of the sample's image, row by row."""

    stack: Stack
    layer: int
    type: AttentionType
    rows: int
    columns: int
    earlier: int = 0
    """Positions before the first patch: those of the class token and of registers."""
    has_class: bool = False
    """Whether the first of these is the class token's."""
    remark: str = ""
    """What of this is assumed; empty where the model tells it."""

    def __post_init__(self) -> None:
        require(self.layer >= 0, "layer", self.layer)
        require(0 < self.rows <= LONGEST_SIDE, "rows", self.rows)
        require(0 < self.columns <= LONGEST_SIDE, "columns", self.columns)
        require(int(self.has_class) <= self.earlier <= LONGEST_SIDE, "earlier", self.earlier)


@dataclass(frozen=True, slots=True)
class SampleImage:
    """What a vision model saw of the captured sample, made small, and how it is cut."""

    pixels: ArrayBlock
    """uint8 [rows, columns, 3] Red, green and blue."""
    is_stretched: bool
    """Whether the values were no colours, but were stretched from the smallest to the largest."""
    layers: tuple[PatchedLayer, ...]

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        require(len(shape) == 3 and shape[2] == 3 and 0 not in shape, "pixels", shape)
        require(self.pixels.dtype == "uint8", "pixels", self.pixels.dtype)
        require(max(shape) <= LONGEST_IMAGE_SIDE, "pixels", shape)

    def patches_of(self, attention: Attention) -> PatchedLayer | None:
        """Return how a layer sees the image; None if its positions are no patches of it."""
        named = (attention.stack, attention.layer, attention.type)
        return next((p for p in self.layers if (p.stack, p.layer, p.type) == named), None)
