"""Where a forward's numbers come from: which tensors are attention scores, which are weights.

A product of two tensors that are no parameters gives scores. Elementwise they lead to a softmax,
which makes them weights, and another product uses those up. A router of experts is none: its
scores are a product with a parameter.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from attnmon.capture.handwritten.matcher import ValueProduct
from attnmon.capture.handwritten.operations import Operation, plain_name

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """Of a tensor that left a softmax over scores."""

    number: int
    """Which softmax over scores it was, in the order of the forward."""
    keys_at: int
    """The normalised dimension, counted from the end."""
    told: Tensor | None = None
    """The weights to tell, as they were before dropout and reshapes; None: the tensor itself."""
    dropped: bool = False


_Origin = Literal["parameter", "scores"] | _Weights


class Provenance:
    """Follows one forward's tensors. Holds none, but weights whose dropped-out copy is alive."""

    def __init__(self) -> None:
        self._origins: dict[int, tuple[weakref.ref[Tensor], _Origin]] = {}
        self.softmaxes = 0
        """How many were taken over scores so far."""

    def before_dropout(self, function: Function, args: Any, kwargs: Any) -> None:
        """To be called before it: in place, it would take the weights with it."""
        origin = self._origin(args[0]) if args else None
        in_place = function.__name__.endswith("_") or kwargs.get("inplace", args[3:4] == (True,))
        if isinstance(origin, _Weights) and origin.told is None and in_place:
            kept = args[0].detach().clone()
            self._note(args[0], replace(origin, told=kept, dropped=True))

    def after(
        self, operation: Operation, function: Function, args: Any, kwargs: Any, result: Any
    ) -> ValueProduct | None:
        """To be called after it. Returns the weighting that this call was, if it was one."""
        if not isinstance(result, Tensor):
            return None
        if operation is Operation.PRODUCT:
            return self._product(plain_name(function), args, kwargs, result)
        if operation is Operation.SOFTMAX:
            self._softmax(args, kwargs, result)
        else:
            self._carry(operation, function, args, kwargs, result)
        return None

    def _product(self, name: str, args: Any, kwargs: Any, result: Tensor) -> ValueProduct | None:
        factors = _tensors((*args, *kwargs.values()))[-2:]  # baddbmm's first is added
        if len(factors) != 2:
            return None
        equation = kwargs.get("equation", args[0]) if name == "einsum" else ""
        for at, factor in enumerate(factors):
            origin = self._origin(factor)
            if isinstance(origin, _Weights):
                told = factor if origin.told is None else origin.told
                return ValueProduct(
                    origin.number,
                    told,
                    factors[1 - at],
                    result,
                    origin.keys_at,
                    origin.dropped,
                    at == 0,
                    equation,
                )
        if not any(self._is_parameter(factor) for factor in factors):
            self._note(result, "scores")
        return None

    def _softmax(self, args: Any, kwargs: Any, result: Tensor) -> None:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        scores = _tensors((*args, *kwargs.values()))
        if scores and self._origin(scores[0]) == "scores" and isinstance(dim, int):
            keys_at = dim if dim < 0 else dim - result.dim()
            self._note(result, _Weights(self.softmaxes, keys_at))
            self.softmaxes += 1

    def _carry(
        self, operation: Operation, function: Function, args: Any, kwargs: Any, result: Tensor
    ) -> None:
        operands = _tensors(args) if not kwargs else _tensors((*args, *kwargs.values()))
        scores = False
        for operand in operands:
            origin = self._origin(operand)
            if isinstance(origin, _Weights):
                if result is not operand:
                    carried = _carried(origin, operation, function, args, kwargs, operand, result)
                    self._note(result, carried)
                return
            scores = scores or origin == "scores"
        if scores:
            self._note(result, "scores")
        elif operands and all(self._is_parameter(operand) for operand in operands):
            self._note(result, "parameter")

    def _is_parameter(self, tensor: Tensor) -> bool:
        base = tensor._base
        owner = tensor if base is None else base
        if type(owner) is not Tensor and isinstance(owner, nn.Parameter):  # isinstance is slow here
            return True
        return self._origin(tensor) == "parameter"

    def _origin(self, tensor: object) -> _Origin | None:
        reference, origin = self._origins.get(id(tensor), (None, None))
        return origin if reference is not None and reference() is tensor else None

    def _note(self, tensor: Tensor, origin: _Origin | None) -> None:
        if origin is None:
            return
        key, origins = id(tensor), self._origins
        origins[key] = (weakref.ref(tensor, lambda _: origins.pop(key, None)), origin)


def _carried(
    origin: _Weights,
    operation: Operation,
    function: Function,
    args: Any,
    kwargs: Any,
    operand: Tensor,
    result: Tensor,
) -> _Weights | None:
    """What the weights became; None when they can no longer be told from this tensor."""
    told = operand.detach() if origin.told is None else origin.told
    if operation is Operation.DROPOUT:
        return replace(origin, told=told, dropped=True)
    if operation is Operation.RESHAPE:
        same = result.shape[origin.keys_at :] == operand.shape[origin.keys_at :]
        return replace(origin, told=told) if same else None
    if operation is Operation.TURN:
        return _turned(origin, function, args, kwargs, operand)
    if result.dim() != operand.dim():
        return None
    return origin if origin.dropped else replace(origin, told=None)


def _turned(
    origin: _Weights, function: Function, args: Any, kwargs: Any, operand: Tensor
) -> _Weights | None:
    dims = operand.dim()
    if origin.told is not None and origin.told.dim() != dims:
        return None
    # Dimensions of different lengths, without memory, show where each of them goes.
    numbered = torch.empty(tuple(range(1, dims + 1)), device="meta")
    lengths = tuple(function(numbered, *args[1:], **kwargs).shape)
    told = None if origin.told is None else function(origin.told, *args[1:], **kwargs)
    return replace(origin, keys_at=lengths.index(dims + 1 + origin.keys_at) - dims, told=told)


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found
