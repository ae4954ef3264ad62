"""Hooks on the user's modules that are not copied or saved with them."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any


class DetachableHook:
    """A hook that a copied or saved module has no longer: `_NOTHING` takes its position."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        self._call(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _NOTHING

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, str]]:
        return getattr, (nullcontext(), "__exit__")


_NOTHING = nullcontext().__exit__
"""A function that takes any arguments and does nothing.

It is from the standard library, so that a saved model can be loaded without attnmon.
"""
