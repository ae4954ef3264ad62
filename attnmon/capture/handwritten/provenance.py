"""Follows the tensors of a forward from attention scores to weights to their product with values.

A product of two tensors that are not parameters gives scores. After elementwise operations, a
softmax makes them weights, and another product consumes the weights. A router of experts is not
attention: its scores are a product with a parameter. Nor are weights one map that are multiplied
with weights, inverted, used in parts, or whose sums are used as weights again.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from attnmon.capture.handwritten.matcher import RowLogits, ValueProduct
from attnmon.capture.handwritten.operations import CHANGES, Operation
from attnmon.capture.lineage.element_labels import Labels
from attnmon.capture.lineage.function_calls import base_name, tensors_among

Function = Callable[..., Any]
"""A torch function."""


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """What is known of a tensor that holds weights."""

    softmax_index: int
    """Number of softmaxes over scores before its own in the forward."""
    keys_dim: int
    """Dimension that the softmax normalised, counted from the end: negative."""
    keys: int
    """Number of keys over which the softmax was taken."""
    original: Tensor | None = None
    """The weights before dropout and reshapes; None if the tensor itself still holds them."""
    had_dropout: bool = False
    """Whether dropout was applied."""
    is_changed: bool = False
    """Whether something was computed with the weights after the softmax."""
    is_assumed: bool = False
    """Whether the softmax is only taken to be one over scores, which were lost sight of."""
    labels: Labels | None = None
    """Labels of the original."""
    row_logits: RowLogits | None = None
    """What its softmax was given at most."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """What is known of a tensor that holds scores."""

    sums: frozenset[int] = frozenset()
    """Softmaxes whose sums of values were a factor: weights again, unless a softmax follows."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """What is known of a sum of values by weights."""

    softmax_index: int


_Origin = Literal["parameter"] | _Scores | _Weights | _Sum
"""What a tensor is, where that matters. A parameter may be reshaped or cast."""


class Provenance:
    """Records the origin of each tensor in one forward.

    Holds weak references only, except to the weights behind a tensor after dropout or a reshape.
    """

    def __init__(self, labels_of: Callable[[Tensor], Labels | None]) -> None:
        """`labels_of`: returns the labels of a tensor; None if they are not known."""
        self._labels_of = labels_of
        self._origins: dict[int, tuple[weakref.ref[Tensor], _Origin]] = {}
        self.softmax_count = 0
        """Number of softmaxes over scores so far."""
        self.combined: set[int] = set()
        """Softmaxes that are no map by themselves: only their combination with others is one."""
        self.assumed: set[int] = set()
        """Softmaxes that are only taken to be over scores; of them alone nothing is said."""
        self._in_parts: set[int] = set()
        self._row_logits: RowLogits | None = None
        """Of the scores that the next softmax is given."""
        self._unused_scores: torch.Size | None = None
        """Shape of the latest scores, until a softmax, a product or a projection follows."""

    def before_softmax(self, args: Any, kwargs: Any, sample: int | None) -> None:
        """Keeps the largest logits: the scores are gone when the weights are used.

        Those of one sample, of [samples, ...] of four dimensions; where it is None, or heads are
        folded into the batch, those of all rows, since it is not known which are a sample's.
        """
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        self._row_logits = None
        for scores in tensors_among((*args, *kwargs.values()))[:1]:
            is_plain = type(scores) is Tensor and isinstance(dim, int) and scores.numel()
            if is_plain and isinstance(self._origin(scores), _Scores):
                one = sample if scores.dim() == 4 and dim in (-1, 3) else None
                self._row_logits = RowLogits.of(scores.detach(), dim, one)

    def before_dropout(self, function: Function, args: Any, kwargs: Any) -> None:
        """Copies the weights if this dropout will overwrite them. Call it before each dropout."""
        origin = self._origin(args[0]) if args else None
        in_place = function.__name__.endswith("_") or kwargs.get("inplace", args[3:4] == (True,))
        if isinstance(origin, _Weights) and origin.original is None and in_place:
            copy, labels = args[0].detach().clone(), self._labels_of(args[0])
            dropped = replace(origin, original=copy, had_dropout=True, labels=labels)
            self._set_origin(args[0], dropped)

    def after(
        self, operation: Operation, function: Function, args: Any, kwargs: Any, result: Any
    ) -> ValueProduct | None:
        """Records the origin of the result of a torch function.

        Returns the product of weights and value, if this call computed one.
        """
        if not isinstance(result, Tensor) or result.is_nested:  # its sizes are no numbers
            return None
        if operation is Operation.PRODUCT:
            return self._product(base_name(function), args, kwargs, result)
        if operation is Operation.PROJECTION:
            self._unused_scores = None
        elif operation is Operation.SOFTMAX:
            self._softmax(args, kwargs, result)
        elif operation is Operation.INVERSE:
            self._combine(map(self._origin, tensors_among(args)))
        else:
            self._propagate(operation, function, args, kwargs, result)
        return None

    def _product(self, name: str, args: Any, kwargs: Any, result: Tensor) -> ValueProduct | None:
        factors = tensors_among((*args, *kwargs.values()))[-2:]  # baddbmm's first is added
        if len(factors) != 2:
            return None
        equation = kwargs.get("equation", args[0]) if name == "einsum" else ""
        origins = [self._origin(factor) for factor in factors]
        self._unused_scores = None
        if all(isinstance(origin, _Weights) for origin in origins):
            self._combine(origins)
            return None
        for index, origin in enumerate(origins):
            if isinstance(origin, _Weights):
                if origin.is_assumed and isinstance(origins[1 - index], _Scores):
                    return None  # linear attention: a softmax over features, times key · value
                self._set_origin(result, _Sum(origin.softmax_index))
                return self._value_product(origin, factors, index, result, equation)
        if not any(self._is_parameter(factor) for factor in factors):
            left = origins[0]
            sums = frozenset([left.softmax_index] if isinstance(left, _Sum) else [])
            self.combined |= sums
            self._set_origin(result, _Scores(sums))
            if not any(isinstance(origin, _Scores) for origin in origins):  # or it is their sum
                self._unused_scores = result.shape
        return None

    def _value_product(
        self, origin: _Weights, factors: list[Tensor], index: int, result: Tensor, equation: str
    ) -> ValueProduct:
        factor = factors[index]
        weights = factor if origin.original is None else origin.original
        if weights.shape[origin.keys_dim] < origin.keys:
            if origin.softmax_index in self._in_parts:
                self.combined.add(origin.softmax_index)
            self._in_parts.add(origin.softmax_index)
        return ValueProduct(
            origin.softmax_index,
            weights,
            factors[1 - index],
            result,
            origin.keys_dim,
            origin.had_dropout,
            index == 0,
            equation,
            self._labels_of(factor) if origin.original is None else origin.labels,
            origin.keys - weights.shape[origin.keys_dim],
            origin.is_changed,
            origin.is_assumed,
            None if origin.is_changed else origin.row_logits,
        )

    def _combine(self, origins: Iterable[_Origin | None]) -> None:
        self.combined |= {o.softmax_index for o in origins if isinstance(o, _Weights)}

    def _softmax(self, args: Any, kwargs: Any, result: Tensor) -> None:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        scores = tensors_among((*args, *kwargs.values()))
        origin = self._origin(scores[0]) if scores else None
        is_assumed = origin is None and result.shape == self._unused_scores
        if is_assumed:  # what is scripted, or in a kernel, hides what became of them
            origin = _Scores()
        if isinstance(origin, _Scores) and isinstance(dim, int):
            self._unused_scores = None
            self.combined -= origin.sums
            keys_dim = dim if dim < 0 else dim - result.dim()
            keys = result.shape[keys_dim]
            rows, self._row_logits = self._row_logits, None
            weights = _Weights(
                self.softmax_count, keys_dim, keys, is_assumed=is_assumed, row_logits=rows
            )
            self._set_origin(result, weights)
            if is_assumed:
                self.assumed.add(self.softmax_count)
            self.softmax_count += 1

    def _propagate(
        self, operation: Operation, function: Function, args: Any, kwargs: Any, result: Tensor
    ) -> None:
        operands = tensors_among(args) if not kwargs else tensors_among((*args, *kwargs.values()))
        scores: _Scores | None = None
        for operand in operands:
            origin = self._origin(operand)
            if isinstance(origin, _Weights):
                if result is not operand:
                    if origin.original is None:
                        origin = replace(origin, labels=self._labels_of(operand))
                    weights = _propagated(
                        origin, operation, function, args, kwargs, operand, result
                    )
                    self._set_origin(result, weights)
                return
            if isinstance(origin, _Sum) and len(operands) == 1:
                self._set_origin(result, origin)
            elif isinstance(origin, _Scores):
                scores = _Scores(origin.sums | (scores.sums if scores else frozenset()))
        if scores is not None:
            self._set_origin(result, scores)
        elif operands and all(self._is_parameter(operand) for operand in operands):
            self._set_origin(result, "parameter")

    def _is_parameter(self, tensor: Tensor) -> bool:
        base = tensor._base
        owner = tensor if base is None else base
        if type(owner) is not Tensor and isinstance(owner, nn.Parameter):  # isinstance is slow here
            return True
        return self._origin(tensor) == "parameter"

    def _origin(self, tensor: object) -> _Origin | None:
        reference, origin = self._origins.get(id(tensor), (None, None))
        return origin if reference is not None and reference() is tensor else None

    def _set_origin(self, tensor: Tensor, origin: _Origin | None) -> None:
        if origin is None:
            return
        key, origins = id(tensor), self._origins
        origins[key] = (weakref.ref(tensor, lambda _: origins.pop(key, None)), origin)


def _propagated(
    origin: _Weights,
    operation: Operation,
    function: Function,
    args: Any,
    kwargs: Any,
    operand: Tensor,
    result: Tensor,
) -> _Weights | None:
    """Returns what the result holds of the weights; None if they cannot be followed further."""
    original = operand.detach() if origin.original is None else origin.original
    if operation is Operation.DROPOUT:
        return replace(origin, original=original, had_dropout=True)
    if operation is Operation.RESHAPE:
        same = result.shape[origin.keys_dim :] == operand.shape[origin.keys_dim :]
        return replace(origin, original=original) if same else None
    if operation is Operation.PERMUTE:
        return _permuted(origin, function, args, kwargs, operand)
    if result.dim() != operand.dim():
        return None
    if origin.had_dropout:
        return origin
    is_changed = origin.is_changed or base_name(function) in CHANGES
    rows = _same_rows(origin, result)
    return replace(origin, original=None, is_changed=is_changed, row_logits=rows)


def _same_rows(origin: _Weights, result: Tensor) -> RowLogits | None:
    """Returns the largest logits of the rows; None where the result has no longer the same rows."""
    rows = origin.row_logits
    if rows is None:
        return None
    shape = list(result.shape)
    shape[origin.keys_dim] = 1
    return rows if list(rows.values.shape) == shape else None


def _permuted(
    origin: _Weights, function: Function, args: Any, kwargs: Any, operand: Tensor
) -> _Weights | None:
    dims = operand.dim()
    if origin.original is not None and origin.original.dim() != dims:
        return None
    # A meta tensor whose dimensions have different sizes shows where each of them goes.
    numbered = torch.empty(tuple(range(1, dims + 1)), device="meta")
    sizes = tuple(function(numbered, *args[1:], **kwargs).shape)
    keys_dim = sizes.index(dims + 1 + origin.keys_dim) - dims
    rows = origin.row_logits
    if rows is not None:
        turned = rows._replace(values=function(rows.values, *args[1:], **kwargs))
        origin = replace(origin, row_logits=turned)
    if origin.original is None:
        return replace(origin, keys_dim=keys_dim)
    original, labels = function(origin.original, *args[1:], **kwargs), origin.labels
    if labels is not None:
        labels = labels.mapped(original.shape, lambda label: function(label, *args[1:], **kwargs))
    return replace(origin, keys_dim=keys_dim, original=original, labels=labels)
