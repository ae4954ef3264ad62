"""The tensors of one layer that a survey reads, and what of them chooses its kernels."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

NO_STRIDES = (0, 0, 0)


class KernelKind(NamedTuple):
    """All that chooses the code of the kernels: layers of one kind run the same."""

    dtypes: tuple[torch.dtype, torch.dtype]
    width: int
    bias: torch.dtype | None
    causal: bool
    softcap: bool
    sinks: torch.dtype | None
    padding: bool
    ends: bool
    declared: bool
    scaled: bool
    """Whether the key that corresponds to a query is found by the ratio of their lengths."""
    triangle: bool
    """Whether the cells above the diagonal are left out."""
    cells: bool
    cell_rows: int
    cell_keys: int
    chunks: int
    average: tuple[int, int] | None
    """Of a cell of the mean over heads, how many queries and keys a tile has."""
    window: bool
    """Whether weights of single queries are asked for."""
    places: tuple[int, ...]
    """What Triton compiles for of how query, key and bias lie in memory, as `divisor`."""


def divisor(place: int) -> int:
    """Return for what of an address or a stride Triton compiles: 16 for its multiples, 1, or 0."""
    return 16 if place % 16 == 0 else int(place == 1)


@dataclass(frozen=True, slots=True, eq=False)
class LayerTensors:
    """The attention of one sample as it is computed from tensors, views of the model's own."""

    query: Tensor
    """[heads, queries, width]"""
    key: Tensor
    """[key heads, keys, width]; a key head serves heads // key heads heads in a row."""
    scale: float
    causal: bool = False
    softcap: float = 0.0
    bias: Tensor | None = None
    """Broadcastable to [heads, queries, keys]. Bool: True may be attended. Float: is added."""
    bound: Tensor | None = None
    """float32 [1] The largest number of a float bias that forbids a key."""
    sinks: Tensor | None = None
    """[heads]"""
    padding: Tensor | None = None
    """bool [queries] True for those that count in no statistic."""
    ends: Tensor | None = None
    """int32 [2, queries] The keys between which a query may attend, as in `MaskFacts`; None where
    the mask says the same of every query."""
    declared: tuple[Tensor, Tensor] | None = None
    """bool [queries], bool [keys] True for those that the user's batch says are padding."""
    earlier: int = 0
    """Keys before the first query's own."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(heads, queries, keys)"""
        return self.query.shape[0], self.query.shape[1], self.key.shape[1]

    @property
    def is_scaled(self) -> bool:
        """Whether positions of queries and keys correspond by the ratio of their lengths."""
        _, queries, keys = self.shape
        return not (self.earlier or self.causal or queries == keys)

    @property
    def bias_as_bytes(self) -> Tensor | None:
        """The bias as a kernel reads it: a bool one as bytes, of the same memory."""
        bias = self.bias
        return bias.view(torch.uint8) if bias is not None and bias.dtype == torch.bool else bias

    @property
    def bias_strides(self) -> tuple[int, int, int]:
        """Elements from one head, query and key of the bias to the next; 0 where broadcast."""
        if self.bias is None:
            return NO_STRIDES
        missing = 3 - self.bias.dim()
        pairs = zip(self.bias.shape, self.bias.stride(), strict=True)
        head, row, key = [0] * missing + [0 if size == 1 else stride for size, stride in pairs]
        return head, row, key

    @property
    def nbytes(self) -> int:
        """Bytes of query and key, which are sent where the layer is not summarised."""
        return self.query.numel() * self.query.itemsize + self.key.numel() * self.key.itemsize
