"""The usual shapes of attention tensors, and their conversion to four dimensions.

``[batch, heads, positions, width]`` for query, key and value, ``[batch, heads, queries, keys]`` for
weights and masks. The results are views wherever the memory layout allows.
"""

import math

from torch import Size, Tensor


class ShapeError(ValueError):
    """Tensors that cannot be read as attention. The message gives their shapes."""


def to_4d(tensor: Tensor, heads: int | None) -> Tensor:
    """Returns a query, weights or an output as [batch, heads, positions, any].

    Of three dimensions the first is batch · heads where `heads` is known and fits (as
    `nn.MultiheadAttention` folds them), else the batch; of five, the third alone is the heads, or
    with the second where `heads` says so. Raises `ShapeError` below two dimensions.
    """
    if tensor.dim() == 4:
        return tensor
    if tensor.dim() < 2:
        raise ShapeError(f"{tuple(tensor.shape)} has no positions to attend")
    if tensor.dim() == 2:
        return tensor[None, None]
    if tensor.dim() == 3:
        count = tensor.shape[0]
        if heads and count % heads == 0:
            return _unfold_heads(tensor, count // heads, heads)
        return tensor.unsqueeze(1)
    dims = range(1, tensor.dim() - 2)
    first = next((dim for dim in dims if _holds_heads(tensor, dim, heads)), -3)
    return tensor.flatten(first, -3).flatten(0, -4)


def _holds_heads(tensor: Tensor, first: int, heads: int | None) -> bool:
    """Whether the dimensions from `first` to the positions hold this many heads together."""
    return math.prod(tensor.shape[first:-2]) == heads


def key_to_4d(tensor: Tensor, query_shape: Size, query: Tensor) -> Tensor:
    """Returns a key or value as [batch, key heads, keys, width].

    query_shape: shape of the query as it was passed. query: the query in four dimensions.

    Batch dimensions of 1 are expanded. Raises `ShapeError` if the two do not fit together.
    """
    batch, heads = query.shape[:2]
    if tensor.dim() == 3 and len(query_shape) == 3:
        count = tensor.shape[0]
        key_heads = count // batch if batch and count % batch == 0 else heads
        tensor = _unfold_heads(tensor.expand(batch * key_heads, -1, -1), batch, key_heads)
    elif tensor.dim() > 4:
        tensor = tensor.expand(*query_shape[:-2], -1, -1).reshape(batch, heads, *tensor.shape[-2:])
    tensor = to_4d(tensor, heads)
    key_heads = tensor.shape[1]
    if tensor.shape[0] not in (1, batch) or key_heads == 0 or heads % key_heads:
        raise ShapeError(f"query {tuple(query_shape)} beside {tuple(tensor.shape)}")
    return tensor if tensor.shape[0] == batch else tensor.expand(batch, -1, -1, -1)


def mask_to_4d(mask: Tensor, query_shape: Size, query: Tensor) -> Tensor:
    """Returns a mask that broadcasts to [batch, heads, queries, keys].

    query_shape: shape of the query as it was passed; `mask` broadcasts to it, with keys in place of
    the width. query: the query in four dimensions. Raises `ShapeError` if the two do not fit.
    """
    if mask.dim() <= 2 or len(query_shape) == 4:
        return mask
    if len(query_shape) == 3:
        batch, heads = query.shape[:2]
        return mask if mask.shape[0] == 1 else _unfold_heads(mask, batch, heads)
    if len(query_shape) > 4:
        return mask.expand(*query_shape[:-2], -1, -1).reshape(*query.shape[:2], *mask.shape[-2:])
    raise ShapeError(f"a mask {tuple(mask.shape)} for a query {tuple(query_shape)}")


def _unfold_heads(tensor: Tensor, batch: int, heads: int) -> Tensor:
    return tensor.reshape(batch, heads, *tensor.shape[1:])
