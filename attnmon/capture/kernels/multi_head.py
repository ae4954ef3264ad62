"""The way into `multi_head_attention_forward`, which a torch-function mode sees as one call only.

The function asks whether a mode wants to handle it as a whole. A copy of it that does not ask
runs the same code under the mode, so that the mode sees each call inside.
"""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F

from attnmon.capture.calls.adapter import CallSite, UnsupportedCall
from attnmon.capture.calls.attention_call import AttentionCall

_FUNCTION: Any = F.multi_head_attention_forward
_HAS_CODE = isinstance(_FUNCTION, FunctionType) and (
    "has_torch_function" in _FUNCTION.__code__.co_names
)
"""False if a user's own function replaced it before this module was loaded."""

_NAMES = (*_FUNCTION.__code__.co_names, "__builtins__", "__name__") if _HAS_CODE else ()
"""What its code refers to, and what Python itself looks for in the scope of a function."""

_NUM_HEADS, _NEED_WEIGHTS = 4, 15
"""Positions of two of its arguments."""

_DEFAULT = torch.Tensor.__torch_function__.__func__  # type: ignore[attr-defined]
"""What a class of tensors has that does not handle calls itself."""


def torchs_own() -> Any:
    """Returns the function itself; None if a user's own replaced it before this was loaded."""
    return _FUNCTION if _HAS_CODE else None


def can_enter(types: Sequence[type]) -> bool:
    """Whether a call with tensors of these classes can run by `inner_function`."""
    return _HAS_CODE and not handling_classes(types)


def handling_classes(types: Sequence[type]) -> list[Any]:
    """Returns the tensor classes that may handle the call as a whole, as a mode does."""
    return [
        kind
        for kind in types
        if kind is not torch.nn.Parameter
        and getattr(kind.__torch_function__, "__func__", None) is not _DEFAULT  # type: ignore[attr-defined]
    ]


def handled_by_class(
    function: Any, types: Sequence[type], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Returns what a class of tensors makes of the call; NotImplemented if none handles it.

    As torch asks them: in the order of `types`, and no mode before them.
    """
    results = (kind.__torch_function__(function, types, args, kwargs) for kind in types)  # type: ignore[attr-defined]
    return next((result for result in results if result is not NotImplemented), NotImplemented)


def inner_function(**replacements: Any) -> Callable[..., Any]:
    """Returns a copy of the function that does not ask whether a mode handles it as a whole.

    replacements: by name, functions for it to call in place of others. The copy is made anew each
    time, because the user may have replaced functions in its module.
    """
    there = _FUNCTION.__globals__
    scope = {name: there[name] for name in _NAMES if name in there}
    scope |= {"has_torch_function": lambda tensors: False, **replacements}
    return FunctionType(_FUNCTION.__code__, scope, _FUNCTION.__name__, _FUNCTION.__defaults__)


def fused_kernel() -> Any:
    """Returns what the function calls as `scaled_dot_product_attention` at this moment."""
    return _FUNCTION.__globals__.get("scaled_dot_product_attention")


def number_of_heads(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Returns `num_heads` from the function's arguments."""
    heads: int = kwargs["num_heads"] if "num_heads" in kwargs else args[_NUM_HEADS]
    return heads


def needs_weights(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns `need_weights` from the function's arguments. Without it the fused kernel runs."""
    default = kwargs.get("need_weights", True)
    return bool(args[_NEED_WEIGHTS] if len(args) > _NEED_WEIGHTS else default)


def multi_head_attention_forward(
    site: CallSite, result: object, *_: object, **__: object
) -> AttentionCall:
    """Refuses the call: an adapter sees it only where `can_enter` is False."""
    raise UnsupportedCall(
        "multi_head_attention_forward of a tensor class, or replaced: "
        "give query and key to record()"
    )
