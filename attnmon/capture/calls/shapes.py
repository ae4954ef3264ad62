"""Shapes: the ways in which attention tensors are laid out, brought to four dimensions.

``[batch, heads, positions, width]`` for query, key and value, ``[batch, heads, queries, keys]`` for
weights and masks. Views, wherever the memory allows.
"""

import math

from torch import Size, Tensor


class LayoutError(ValueError):
    """Tensors that cannot be read as attention: says which shapes were seen."""


def four_dimensional(tensor: Tensor, heads: int | None) -> Tensor:
    """The query or the weights: [..., heads, positions, any] as [batch, heads, positions, any].

    Of three dimensions the first is batch · heads where `heads` is known and fits (as
    `nn.MultiheadAttention` folds them), else the batch; of five, the third alone is the heads, or
    with the second where `heads` says so. Raises `LayoutError` below two dimensions.
    """
    if tensor.dim() == 4:
        return tensor
    if tensor.dim() < 2:
        raise LayoutError(f"{tuple(tensor.shape)} has no positions to attend")
    if tensor.dim() == 2:
        return tensor[None, None]
    if tensor.dim() == 3:
        count = tensor.shape[0]
        if heads and count % heads == 0:
            return _unfolded(tensor, count // heads, heads)
        return tensor.unsqueeze(1)
    first = next((at for at in range(1, tensor.dim() - 2) if _fits(tensor, at, heads)), -3)
    return tensor.flatten(first, -3).flatten(0, -4)


def _fits(tensor: Tensor, first: int, heads: int | None) -> bool:
    """Whether the dimensions from `first` to the positions hold this many heads together."""
    return math.prod(tensor.shape[first:-2]) == heads


def beside(tensor: Tensor, seen: Size, like: Tensor) -> Tensor:
    """A key or value as [batch, key heads, keys, width], to go with a query.

    seen: the query's own shape. like: the query, four-dimensional. Batch dimensions of 1 are
    expanded. Raises `LayoutError` when the two do not go together.
    """
    batch, heads = like.shape[:2]
    if tensor.dim() == 3 and len(seen) == 3:
        count = tensor.shape[0]
        key_heads = count // batch if batch and count % batch == 0 else heads
        tensor = _unfolded(tensor.expand(batch * key_heads, -1, -1), batch, key_heads)
    elif tensor.dim() > 4:
        tensor = tensor.expand(*seen[:-2], -1, -1).reshape(batch, heads, *tensor.shape[-2:])
    tensor = four_dimensional(tensor, heads)
    key_heads = tensor.shape[1]
    if tensor.shape[0] not in (1, batch) or key_heads == 0 or heads % key_heads:
        raise LayoutError(f"query {tuple(seen)} beside {tuple(tensor.shape)}")
    return tensor if tensor.shape[0] == batch else tensor.expand(batch, -1, -1, -1)


def mask_beside(mask: Tensor, seen: Size, like: Tensor) -> Tensor:
    """A mask that broadcasts to the query's own `seen` shape, as one that does to `like`'s."""
    if mask.dim() <= 2 or len(seen) == 4:
        return mask
    if len(seen) == 3:
        batch, heads = like.shape[:2]
        return mask if mask.shape[0] == 1 else _unfolded(mask, batch, heads)
    if len(seen) > 4:
        return mask.expand(*seen[:-2], -1, -1).reshape(*like.shape[:2], *mask.shape[-2:])
    raise LayoutError(f"a mask {tuple(mask.shape)} for a query {tuple(seen)}")


def _unfolded(tensor: Tensor, batch: int, heads: int) -> Tensor:
    return tensor.reshape(batch, heads, *tensor.shape[1:])
