"""Calls of torch functions: one name for all variants of one, and the tensors it is given."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor


def base_name(function: Callable[..., Any]) -> str:
    """Returns the name that all variants of an operation share.

    ``Tensor.mul``, ``mul_``, ``torch.mul`` and ``torch.ops.aten.mul.Tensor`` are all "mul"; the
    getter of a property has the name of the property.
    """
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return str(name).split(".")[0].strip("_")


def words(text: str) -> frozenset[str]:
    """Returns the words of a text as a set."""
    return frozenset(text.split())


SOFTMAXES = words("softmax special_softmax safe_softmax")
"""Functions that make weights from scores."""


def tensors_among(arguments: Iterable[Any]) -> list[Tensor]:
    """Returns the tensors among a function's arguments, also those in lists and tuples."""
    found: list[Tensor] = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            found.append(argument)
        elif isinstance(argument, (list, tuple)):
            found += tensors_among(argument)
    return found
