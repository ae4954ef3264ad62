"""Kernel calls that need not be told in the middle of a forward: they wait for its end.

Between two layers of a model nothing of ours is in the processor's caches, and to tell a call takes
five times as long as directly after another. A call may wait if autograd keeps its query and key
for the backward: then it takes no memory to wait, and nobody may change them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnmon.capture.adapter import Adapter

SMALL_MASK = 64 * 1024
"""Bytes of a mask that are copied at once, since nothing tells when it is changed."""

_MASK = 3
"""Where `scaled_dot_product_attention` takes it."""
_PLAIN = {Tensor, nn.Parameter}


Caller = tuple[str, int | None]
"""A module's name, and how many heads it says it has."""


class Call(NamedTuple):
    """One call of an attention function, as it was made."""

    adapter: Adapter
    kernel: Callable[..., Any]
    result: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Waiting:
    """Calls in one forward, in their order."""

    def __init__(self) -> None:
        self._calls: list[tuple[Call, Caller]] = []
        self._versions: list[tuple[int, int]] = []
        self._masks: dict[torch.Size, Tensor] = {}

    def takes(self, call: Call, caller: Caller) -> bool:
        """Whether this call may wait; then it does."""
        args = call.args
        if call.kernel is not F.scaled_dot_product_attention or not _is_kept(call.result, args):
            return False
        mask = args[_MASK] if len(args) > _MASK else call.kwargs.get("attn_mask")
        if mask is not None:
            if not _is_small(mask):
                return False
            call = _with_mask(call, self._copied(mask))
        self._calls.append((call, caller))
        self._versions.append(_versions(args))
        return True

    def take(self) -> list[tuple[Call, Caller]]:
        """All of them; they wait no longer. Without those whose tensors were changed since:

        that such a layer is missing is noticed, and its model is looked at from end to end.
        """
        calls = [
            waiting
            for waiting, versions in zip(self._calls, self._versions, strict=True)
            if versions == _versions(waiting[0].args)
        ]
        self._calls, self._versions = [], []
        self._masks.clear()
        return calls

    def _copied(self, mask: Tensor) -> Tensor:
        """The same copy for all layers that are given the same."""
        copied = self._masks.get(mask.shape)
        if copied is None or copied.dtype != mask.dtype or not torch.equal(copied, mask):
            copied = self._masks[mask.shape] = mask.detach().clone()
        return copied


def _versions(args: tuple[Any, ...]) -> tuple[int, int]:
    """Of query and key: autograd's count of changes in place."""
    return args[0]._version, args[1]._version


def _with_mask(call: Call, mask: Tensor) -> Call:
    if len(call.args) > _MASK:
        return call._replace(args=(*call.args[:_MASK], mask, *call.args[_MASK + 1 :]))
    return call._replace(kwargs={**call.kwargs, "attn_mask": mask})


def _is_kept(result: Any, args: tuple[Any, ...]) -> bool:
    """Whether autograd keeps what this call was given, as it is, and gave it as it is."""
    return (
        len(args) >= 2
        and type(result) is Tensor
        and result.requires_grad
        and not _is_wrapped(result)
        and not _autocasts()
        and _top_hooks(True) is None
    )


def _is_small(mask: Any) -> bool:
    return type(mask) in _PLAIN and mask.is_cpu and mask.nbytes <= SMALL_MASK


def _tell_at_once(*_: object) -> bool:
    return True


_is_wrapped: Callable[[Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor
_autocasts: Callable[[], bool] = getattr(torch._C, "_is_any_autocast_enabled", _tell_at_once)
_top_hooks: Callable[[bool], Any] = getattr(
    torch._C._autograd, "_top_saved_tensors_default_hooks", _tell_at_once
)
"""What stands between autograd and what it keeps: activation checkpointing, for one, keeps none."""
