"""What a `maps.safetensors` says of its capture and of each layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from attnmon.link.records.attention_record import Stack

FORMAT = "attnmon-maps 1"
ELEMENT_BYTES = {"U8": 1, "F16": 2, "F32": 4, "U32": 4}
"""Of the types of tensors in the file."""


class Span(NamedTuple):
    """Where a tensor lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class LayerMaps:
    """What is known of the maps of one layer."""

    stem: str
    """Their name, such as "decoder_layer0_cross_attn"."""
    heads: tuple[int, ...]
    """The heads' numbers in the model, in the order of the maps."""
    shape: tuple[int, int, int]
    """(heads, queries, keys) of the attention itself."""
    rows: int
    columns: int
    query_step: int
    """Queries in a cell."""
    key_step: int
    """Keys in a cell."""
    causal: bool
    """Whether no query sees a later key, and `allowed` has nothing to add."""
    earlier: int
    """Keys of a prefix or a cache, before the first query's own."""
    module: str
    source: str
    note: str
    """What the maps are instead of the whole, exact ones; empty if they are that."""
    sampled: int | None
    """How many evenly spaced queries they are made of; None for all."""
    non_finite: int
    """How many cells are NaN or infinite in truth, and have code 0."""
    missing: tuple[int, ...]
    """Of a split model, the heads whose process recorded nothing; their maps are empty."""
    spans: Mapping[str, Span] = field(repr=False)
    """By suffix, those of `PARTS` that are there."""

    @property
    def recorded(self) -> list[int]:
        """The places of the heads that were recorded."""
        return [place for place, head in enumerate(self.heads) if head not in self.missing]

    def for_page(self) -> dict[str, Any]:
        """Return what a page is told of the layer, whose cells it draws."""
        _, queries, keys = self.shape
        told = ("stem", "heads", "rows", "columns", "query_step", "key_step", "causal", "earlier",
                "note", "sampled", "non_finite", "missing")  # fmt: skip
        return {name: getattr(self, name) for name in told} | {"queries": queries, "keys": keys}


@dataclass(frozen=True, slots=True)
class MapsMetadata:
    """What a file says of its capture."""

    step: int
    epoch: int | None
    loss: float | None
    tokens: Mapping[Stack, tuple[str, ...]]
    """Of the captured sample, those that the user named."""
    layers: Mapping[str, LayerMaps]
    """By stem, in the order of the file."""
    damages: tuple[str, ...] = ()
    """A line for each layer that was left out."""
