"""A hook of ours on a user's module: it does not follow the module elsewhere."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any


class DetachableHook:
    """A hook that stays behind when its module is copied or saved."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        self._call(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _NOTHING

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, str]]:
        return getattr, (nullcontext(), "__exit__")


_NOTHING = nullcontext().__exit__
"""What stands in a copied or saved model's list of hooks for one of ours: it takes any arguments,
does nothing, and is the standard library's, so that a saved model is read where we are not."""
