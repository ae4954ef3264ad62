"""How many samples inputs hold, and whether one of them can be cut out."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from attnmon.capture.model.input_parts import Leaf, is_leaf, leaves_of, parts_of


def batch_size(inputs: Any, batch_dim: int) -> int | None:
    """Returns the number of samples: the size of the first tensor along this dimension.

    Tensors given by themselves or by name count first, then those of an object that agree. None
    where they tell nothing, as in a batch of graphs, or a list, which may be one of samples.
    """
    direct = (leaf for leaf in direct_leaves(inputs) if leaf.ndim > batch_dim)
    if (first := next(direct, None)) is not None:
        return int(first.shape[batch_dim])
    for group in _groups(inputs):
        sizes = _sizes(group, batch_dim)
        if len(sizes) == 1 and not isinstance(group, (list, deque, PackedSequence)):
            return sizes.pop()
    return None


def can_be_cut(inputs: Any, batch_dim: int, batch: int) -> bool:
    """Returns whether one of `batch` samples can be cut out of the inputs.

    Not where the tensors of a list or an object hold different numbers of samples, nor where a list
    may be one of samples.
    """
    if not batch or any(map(is_nested, leaves_of(inputs))):
        return False
    return all(
        _sizes(group, batch_dim) <= {batch}
        and not (isinstance(group, (list, deque)) and len(group) == batch > 1)
        and not isinstance(group, PackedSequence)
        for group in _groups(inputs)
    )


def is_nested(leaf: Leaf) -> bool:
    """Returns whether this is a nested tensor, whose samples have different sizes."""
    return isinstance(leaf, Tensor) and leaf.is_nested


def _sizes(group: Any, batch_dim: int) -> set[int]:
    return {leaf.shape[batch_dim] for leaf in leaves_of(group) if leaf.ndim > batch_dim}


def _is_transparent(value: object) -> bool:
    """Whether the parts of this are inputs by themselves."""
    return isinstance(value, (tuple, Mapping)) and not isinstance(value, PackedSequence)


def direct_leaves(value: Any) -> Iterator[Leaf]:
    """Yields the tensors and arrays that are given by themselves or by name."""
    if is_leaf(value):
        yield value
    elif _is_transparent(value):
        for _, part in parts_of(value):
            yield from direct_leaves(part)


def _groups(value: Any) -> Iterator[Any]:
    """Yields the outermost lists and objects, whose tensors belong together."""
    if _is_transparent(value):
        for _, part in parts_of(value):
            yield from _groups(part)
    elif not is_leaf(value) and parts_of(value):
        yield value
