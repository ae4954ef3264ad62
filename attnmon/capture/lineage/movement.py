"""Labels of a result that holds the elements of its operands at other places."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attnmon.capture.lineage.element_labels import UNKNOWN, Label, Labels, compact, reshaped
from attnmon.capture.lineage.function_calls import base_name, tensors_among, words

RESHAPES = words("view reshape flatten unflatten unsqueeze squeeze view_as reshape_as ravel")
REPLAYED = words(
    "transpose permute swapaxes swapdims movedim moveaxis t T mT H mH adjoint getitem narrow "
    "select index_select take_along_dim gather unbind split split_with_sizes chunk tensor_split "
    "hsplit vsplit dsplit unsafe_split unsafe_chunk unfold repeat repeat_interleave tile roll "
    "flip fliplr flipud rot90 diagonal pixel_shuffle pixel_unshuffle masked_select"
)
SCATTERS = words("index_add index_copy scatter scatter_add")
"""Functions that put the elements of a source at places that indices tell."""
REORDERS = words(
    "index_put index_reduce scatter_reduce masked_scatter put take msort argsort diag_embed"
)
"""Functions of which it is not known where the elements of their result come from."""
JOINS = {"cat": False, "concat": False, "concatenate": False, "stack": True}
"""Functions that join tensors, and whether along a new dimension."""


def reshaped_labels(labels: Labels, shape: Sequence[int]) -> Labels:
    """Return the labels of the tensor in another shape, with the elements in the same order."""
    return labels.mapped(shape, lambda label: reshaped(label, labels.shape, shape))


def replayed_labels(
    labels: Labels, function: Callable[..., Any], args: Sequence[Any], kwargs: Any, result: Any
) -> list[Labels]:
    """Return the labels of each result of a movement, by doing the same to the labels."""
    rest, named = _on_cpu(tuple(args[1:])), _on_cpu(kwargs)
    results = [result] if isinstance(result, Tensor) else list(result)

    def part_of(index: int) -> Callable[[Tensor], Tensor]:
        def move(label: Tensor) -> Tensor:
            moved = function(label.expand(labels.shape), *rest, **named)
            return compact(moved if isinstance(moved, Tensor) else moved[index])

        return move

    moved = [labels.mapped(part.shape, part_of(index)) for index, part in enumerate(results)]
    if tensors_among((args[1:], kwargs)):  # by indices, which are data
        is_of_first = _is_of_first_dimension(base_name(function), rest, named)
        moved = [
            replace(each, is_reordered=True) if is_of_first or _is_other(labels, each) else each
            for each in moved
        ]
    return moved


def scattered_labels(
    labels: Labels, source: Tensor, dim: int, index: Tensor, shape: Sequence[int]
) -> Labels:
    """Return the labels of a result of this shape, filled along `dim` with a labelled source.

    index: of one dimension, for whole slices, or of as many as the source, for single elements.
    """
    place, dim = index.cpu(), dim % len(shape)
    if place.dim() < len(shape):
        place = place.view(*(-1 if other == dim else 1 for other in range(len(shape))))
        place = place.expand(source.shape)
    part = tuple(map(slice, place.shape))

    def moved(label: Tensor) -> Label:
        given = label.expand(source.shape)[part]
        result = label.new_full(tuple(shape), UNKNOWN).scatter(dim, place, given)
        is_one_each = torch.equal(result.gather(dim, place), given)
        return compact(result) if is_one_each else None

    found = labels.mapped(shape, moved)
    return replace(found, is_reordered=True)


def _is_of_first_dimension(name: str, rest: Sequence[Any], named: Any) -> bool:
    """Return whether the places in the first dimension are chosen, be it in the same order now."""
    if name == "getitem":
        return isinstance(rest[0][0] if isinstance(rest[0], tuple) else rest[0], Tensor)
    return bool(named.get("dim", rest[0] if rest else None) == 0)


def _is_other(before: Labels, after: Labels) -> bool:
    """Return whether the samples may stand in another order than before."""
    if before.first is None or after.first is None:
        return False
    return not torch.equal(before.first.flatten(), after.first.flatten())


def padded_labels(labels: Labels, pad: Sequence[int], shape: Sequence[int]) -> Labels:
    """Return the labels of a tensor that was padded with a constant."""

    def padded(label: Tensor) -> Tensor:
        sides = list(pad)
        grown = label
        for dim in range(label.dim() - 1, label.dim() - 1 - len(sides) // 2, -1):
            place = 2 * (label.dim() - 1 - dim)
            if any(sides[place : place + 2]) and label.shape[dim] > 1:
                around = [0] * place + sides[place : place + 2]
                grown = torch.nn.functional.pad(grown, around, value=UNKNOWN)
        return grown

    return labels.mapped(shape, padded)


def joined_labels(
    parts: Sequence[tuple[Tensor, Labels | None]], dim: int, shape: Sequence[int], is_new: bool
) -> Labels:
    """Return the labels of tensors joined along `dim`, a new dimension or one they have.

    What comes from no input belongs to the same sample as the rest.
    """
    labelled = [labels for _, labels in parts if labels is not None]
    if is_new:
        labelled = [each.mapped(shape, lambda label: label.unsqueeze(dim)) for each in labelled]
    sizes = [1 if is_new else tensor.shape[dim] for tensor, _ in parts]
    places = [labels is not None for _, labels in parts]

    def join(of: Callable[[Labels], Label]) -> Label:
        each = [of(labels) for labels in labelled]
        known = [label for label in each if label is not None]
        if len(known) < len(each):
            return None
        if all(label.shape[dim] == 1 and torch.equal(label, known[0]) for label in known):
            return known[0]
        others = [max(sizes) for sizes in zip(*(label.shape for label in known), strict=True)]
        remaining, columns = iter(known), []
        for is_labelled, size in zip(places, sizes, strict=True):
            label = (
                next(remaining) if is_labelled else known[0].new_full((1,) * len(others), UNKNOWN)
            )
            columns.append(label.expand([*others[:dim], size, *others[dim + 1 :]]))
        return torch.cat(columns, dim)

    first = labelled[0]
    return Labels(
        tuple(shape),
        join(lambda labels: labels.first),
        join(lambda labels: labels.second),
        join(lambda labels: labels.last),
        join(lambda labels: labels.source),
        join(lambda labels: labels.feature),
        first.stream,
        frozenset(each.stream for each in labelled).union(*(each.joined for each in labelled)),
        frozenset().union(*(labels.passed for labels in labelled)),
        first.scores,
        any(labels.is_reordered for labels in labelled),
    )


def _on_cpu(value: Any) -> Any:
    """Return arguments with their tensors on the CPU, where the labels are."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, (tuple, list)):
        return type(value)(map(_on_cpu, value))
    if isinstance(value, dict):
        return {name: _on_cpu(each) for name, each in value.items()}
    return value
