"""Names of torch functions: one for all variants of an operation."""

from collections.abc import Callable
from typing import Any


def base_name(function: Callable[..., Any]) -> str:
    """Returns the name that all variants of an operation share.

    ``Tensor.mul``, ``mul_``, ``torch.mul`` and ``torch.ops.aten.mul.Tensor`` are all "mul"; the
    getter of a property has the name of the property.
    """
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return str(name).split(".")[0].strip("_")


def names(text: str) -> frozenset[str]:
    """Returns the words of a text as a set."""
    return frozenset(text.split())
