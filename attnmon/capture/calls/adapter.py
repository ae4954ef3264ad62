"""What the adapters of attention functions share.

An adapter is called with a `CallSite`, the function's result and the function's own arguments, and
returns an `AttentionCall`. It raises `UnsupportedCall` for what it cannot reproduce; it never
guesses.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.lineage.layout import Layout

DENSE_LIMIT = 1 << 26
"""Largest number of entries of a tensor that an adapter makes, such as a mask written out."""

_TRANSFORMED = "inside torch.func (vmap, grad): give the weights to record()"


class UnsupportedCall(Exception):
    """A call whose attention cannot be reproduced. The message says why, and what to do."""


class CallSite(NamedTuple):
    """The place in the model from which a call was made."""

    name: str
    """Name of the calling module; empty if unknown or the model itself."""
    call_index: int
    """Number of this module's attention calls before this one, in the same forward."""
    heads: int | None
    """Number of heads of that module; None if the module does not say."""
    layout: Layout | None = None
    """Where its tensors hold samples and heads; None if that could not be established."""
    is_cross: bool | None = None
    """Whether its keys come from another input or stack than its queries; None if unknown."""


Adapter = Callable[..., AttentionCall]
"""(call site, the function's result, *its arguments) → the call. Raises `UnsupportedCall`."""


def require_no_transform() -> None:
    """Raises `UnsupportedCall` inside a transform, where tensors stand for others."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise UnsupportedCall(_TRANSFORMED)


def require_plain(*tensors: Tensor | None) -> None:
    """Raises `UnsupportedCall` for tensors whose values cannot be read one sample at a time."""
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.is_nested:
            raise UnsupportedCall(
                "nested tensors: pass padded ones, or give the weights to record()"
            )
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            raise UnsupportedCall(_TRANSFORMED)


def require_small(entries: int, what: str) -> None:
    """Raises `UnsupportedCall` if a tensor would have more than `DENSE_LIMIT` entries."""
    if entries > DENSE_LIMIT:
        raise UnsupportedCall(f"{what} over {entries:,} places is too large to be written out")


def autocast_rounding(query: Tensor) -> torch.dtype | None:
    """Returns the dtype to which autocast rounds a kernel's inputs here; None without rounding.

    The tap sees the inputs before autocast rounds them. Autocast leaves float64 as it is
    (`is_autocast_eligible` in ATen/autocast_mode.h).
    """
    device = "cpu" if query.is_cpu else query.device.type  # the first is much quicker
    if not torch.is_autocast_enabled(device) or query.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(device)


def plain_mask(mask: Any) -> Tensor:
    """Returns a mask as a plain tensor, also that of a `torch.nn.attention.bias` object."""
    materialize = getattr(mask, "_materialize", None)
    plain: Tensor = mask if materialize is None else materialize(mask.device)
    return plain.detach()
