"""Labels of a tensor's elements: from which place of the model's inputs each of them comes.

A label is an integer tensor that broadcasts to its tensor: a dimension along which it does not
change has size 1. So it costs next to nothing, whatever the tensor's size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

UNKNOWN = -1
"""The label of an element that comes from no input, such as a learned prefix."""

_FEATURE_BITS = 32

Label = Tensor | None
"""Integers that broadcast to the tensor; None where the elements of different places are mixed."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreOrigin:
    """What is known of a tensor of scores or weights: how its queries and keys belong together."""

    is_of_one_sample: tuple[bool | None, bool | None]
    """For the inputs' first and second dimension: whether each query meets only keys of its own
    place in it. None if unknown."""
    is_of_one_input: bool | None
    """Whether each query meets only keys that come from the same input; None if unknown."""
    is_over_channels: bool
    """Whether its rows are features of one position, and not positions."""
    is_cross: bool | None
    """Whether the keys come from another input or stack than the queries; None if unknown."""
    is_weights: bool
    """Whether a softmax has made weights of the scores."""
    has_earlier_keys: bool
    """Whether keys that come from no input stand before the queries' own: a prefix, or a cache."""
    is_in_order: bool = True
    """Whether its queries, and its keys, stand in the order of the inputs' positions."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Where the elements of one tensor come from."""

    shape: tuple[int, ...]
    """Shape of the tensor."""
    first: Label = None
    """Index along the first dimension of the model's input."""
    second: Label = None
    """Index along the second dimension of the model's input."""
    last: Label = None
    """Index along the last dimension of a model's input of three dimensions: of a variable."""
    source: Label = None
    """Number of the model's input."""
    feature: Label = None
    """Number of the output feature of the latest projection, as `features_of` numbers them."""
    stream: int | None = None
    """Number of the input, or of the attention, at which its rows began; None if learned."""
    joined: frozenset[int | None] = frozenset()
    """The same of all that was joined, where it was joined of several."""
    passed: frozenset[int] = frozenset()
    """Numbers of the attention calls that its rows went through."""
    scores: ScoreOrigin | None = None
    """For scores and weights only."""
    is_reordered: bool = False
    """Whether indices that are data have moved places of the input: another time, otherwise."""

    def mapped(self, shape: Sequence[int], function: Callable[[Tensor], Label]) -> "Labels":
        """Return the labels of a result of this shape, each label passed through `function`."""

        def each(label: Label) -> Label:
            return None if label is None else function(label)

        return replace(
            self,
            shape=tuple(shape),
            first=each(self.first),
            second=each(self.second),
            last=each(self.last),
            source=each(self.source),
            feature=each(self.feature),
        )


def input_labels(tensor: Tensor, stream: int, is_shared: Sequence[bool] | None) -> Labels:
    """Return the labels of one of the model's inputs.

    is_shared: for the first and second dimension, whether an input of size 1 there is shared by the
    places of another input, so that its own place means nothing. None: nothing is known of the
    dimensions.
    """
    shape = tuple(tensor.shape)
    source = torch.full((1,) * len(shape), stream, dtype=torch.int32, device="cpu")
    if is_shared is None:
        return Labels(shape, source=source, stream=stream)

    def index(dim: int) -> Label:
        if len(shape) <= dim or (shape[dim] == 1 and dim < 2 and is_shared[dim]):
            return None
        numbers = torch.arange(shape[dim], dtype=torch.int32, device="cpu")
        return numbers.view(*(-1 if other == dim else 1 for other in range(len(shape))))

    last = index(2) if len(shape) == 3 else None
    return Labels(shape, index(0), index(1), last, source, stream=stream)


def features_of(projection: int, count: int) -> Tensor:
    """Return the numbers of a projection's features: no two projections have one in common."""
    return torch.arange(count, device="cpu") + (projection << _FEATURE_BITS)


def projection_of(features: Tensor) -> Tensor:
    """Return the number of the projection of each feature."""
    return features >> _FEATURE_BITS


def compact(label: Tensor) -> Tensor:
    """Return the label with size 1 along each dimension in which it does not change."""
    for dim, stride in enumerate(label.stride()):
        if stride == 0 and label.shape[dim] > 1:
            label = label.narrow(dim, 0, 1)
    for dim, size in enumerate(label.shape):
        if size > 1 and bool((label == label.narrow(dim, 0, 1)).all()):
            label = label.narrow(dim, 0, 1)
    return label


def reshaped(label: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """Return the label of a tensor of shape `old` that was reshaped to `new`.

    Dimensions that are merged or split together are expanded only if the label changes in them.
    """
    expanded, target = list(label.shape), []
    for old_dims, new_dims in _groups(old, new):
        if prod(label.shape[dim] for dim in old_dims) == 1:
            target += [1] * len(new_dims)
        else:
            for dim in old_dims:
                expanded[dim] = old[dim]
            target += [new[dim] for dim in new_dims]
    return compact(label.expand(expanded).reshape(target))


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[range, range]]:
    """Return the smallest runs of dimensions of both shapes that hold equally many elements."""
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        first_i, first_j, left, right = i, j, 1, 1
        while (i == first_i and j == first_j) or left != right:
            if (left <= right and i < len(old)) or j == len(new):
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        groups.append((range(first_i, i), range(first_j, j)))
    return groups


def fitted(label: Tensor, dims: int) -> Tensor:
    """Return the label with leading dimensions of size 1, so that it has `dims` dimensions."""
    return label.view(*(1,) * (dims - label.dim()), *label.shape)
