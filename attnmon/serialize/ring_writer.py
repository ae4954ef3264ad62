"""Copies tensors into the ring: of one sample, of the chosen heads, in one pass."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.ring import Ring
from attnmon.serialize.device_copy import DeviceCopies

SMALL_MASK = 64 * 1024
"""Bytes up to which a mask is sent as it is: to make it smaller would take longer."""
_ALIGNMENT = 64
_NAMES = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.int32: "int32",
    torch.bool: "bool",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


class _Reserver(Protocol):
    def reserve(self, nbytes: int, /) -> int: ...


class RingWriter:
    """Copies tensors into the ring's memory, at offsets that others have reserved."""

    def __init__(self, ring: Ring) -> None:
        self._bytes = torch.frombuffer(ring.memory, dtype=torch.uint8)
        self.device_copies = DeviceCopies(self._bytes, lambda: ring.reserved)

    def write(self, tensors: Mapping[str, Tensor], reserver: "_Reserver") -> dict[str, ArrayBlock]:
        """Copy the tensors, side by side, and return where each of them lies.

        One pass over the memory: a strided view is gathered on the way. Copies from a device are
        only started. Raises what `reserve` raises.
        """
        sendable = {name: _sendable(tensor) for name, tensor in tensors.items()}
        sizes = [aligned(tensor.nbytes) for tensor in sendable.values()]
        offset = reserver.reserve(sum(sizes))
        blocks = {}
        for (name, tensor), size in zip(sendable.items(), sizes, strict=True):
            block = ArrayBlock(offset, _NAMES[tensor.dtype], tuple(tensor.shape))
            self.copy(self.view(block), tensor)
            blocks[name] = block
            offset += size
        return blocks

    def write_bytes(self, array: Tensor, reserver: "_Reserver") -> ArrayBlock:
        """Copy an array of uint8, and return where it lies. Raises what `reserve` raises."""
        offset = reserver.reserve(array.nbytes)
        part = self._bytes[offset : offset + array.nbytes]
        self.copy(part.view(array.shape), array)
        return ArrayBlock(offset, "uint8", tuple(array.shape))

    def copy_from_device(self, offset: int, source: Tensor) -> None:
        """Start copying bytes from a device to this offset of the ring."""
        self.device_copies.copy(self._bytes[offset : offset + source.nbytes], source)

    def view(self, block: ArrayBlock) -> Tensor:
        """Return this part of the ring as a tensor."""
        dtype = _DTYPES[block.dtype]
        return self._bytes[block.offset : block.offset + block.nbytes].view(dtype).view(block.shape)

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copy `source` into `target`, a view of the ring; from a device, start copying it."""
        if source.is_cuda:
            self.device_copies.copy(target, source)
        else:
            target.copy_(source)


def choose_heads(
    heads: tuple[int, ...],
    *,
    weights: Tensor | None = None,
    query: Tensor | None = None,
    key: Tensor | None = None,
    sinks: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the tensors of one sample for these heads only; shapes as in `Attention`.

    Views, where the heads are neighbours. A key head that serves several query heads is repeated
    only where the choice of heads breaks up its group.
    """
    chosen: dict[str, Tensor] = {}
    if weights is not None:
        chosen["weights"] = pick_heads(weights, heads)
    if query is not None and key is not None:
        group = query.shape[0] // key.shape[0]
        whole = heads == tuple(range(query.shape[0]))
        chosen["query"] = pick_heads(query, heads)
        chosen["key"] = key if whole else pick_heads(key, tuple(head // group for head in heads))
    if sinks is not None:
        chosen["sinks"] = pick_heads(sinks, heads)
    return chosen


def pick_heads(tensor: Tensor, heads: tuple[int, ...]) -> Tensor:
    """Return these heads of a tensor [heads, …]: a view, where they are neighbours."""
    first = heads[0]
    if heads == tuple(range(first, first + len(heads))):
        return tensor[first : first + len(heads)] if len(heads) < tensor.shape[0] else tensor
    return torch.stack([tensor[head] for head in heads])  # a list of indices waits for a device


def choose_mask(heads: tuple[int, ...], bias: Tensor) -> Tensor:
    """Return a view of one sample's mask for these heads, without what is only broadcast."""
    for dimension, stride in enumerate(bias.stride()):
        if stride == 0 and bias.shape[dimension] > 1:
            bias = bias.narrow(dimension, 0, 1)
    return pick_heads(bias, heads) if bias.dim() == 3 and bias.shape[0] > 1 else bias


def compact_mask(bias: Tensor) -> Tensor:
    """Return a large mask of 0 and -inf as one of True and False, a quarter of the size or less.

    Any other mask is returned as it is.
    """
    if not bias.is_floating_point() or bias.device.type != "cpu" or bias.nbytes <= SMALL_MASK:
        return bias
    allowed = bias == 0
    return allowed if bool((allowed | (bias == float("-inf"))).all()) else bias


def _sendable(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor if tensor.dtype in _NAMES else tensor.to(torch.float32)


def aligned(nbytes: int) -> int:
    """Return the bytes that an array of this size takes, so that the next one is aligned."""
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
