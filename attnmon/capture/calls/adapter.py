"""What the adapters of fused attention calls share: where a call was, and how to decline one.

An adapter is called with a `CallSite`, the function's result and the function's own arguments, and
returns an `AttentionCall`. It raises `UnsupportedCall` for what it cannot reproduce; it never
guesses.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnmon.capture.calls.attention_call import AttentionCall

DENSE_LIMIT = 1 << 26
"""Entries of a [batch, heads, queries, keys] tensor that an adapter makes itself, at most."""


class UnsupportedCall(Exception):
    """This call's attention cannot be told. The message says why, and what to do."""


class CallSite(NamedTuple):
    """Where in the model a call was made."""

    name: str
    call_index: int
    heads: int | None
    """Of the module that made the call, where it says."""


Adapter = Callable[..., AttentionCall]


def require_plain(*tensors: Tensor | None) -> None:
    """Raise `UnsupportedCall` for tensors whose values cannot be read one sample at a time."""
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.is_nested:
            raise UnsupportedCall(
                "nested tensors: pass padded ones, or give the weights to record()"
            )
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            raise UnsupportedCall("inside torch.func (vmap, grad): give the weights to record()")


def require_small(entries: int, what: str) -> None:
    """Raise `UnsupportedCall` rather than make a tensor of more than `DENSE_LIMIT` entries."""
    if entries > DENSE_LIMIT:
        raise UnsupportedCall(f"{what} over {entries:,} places is too large to be written out")


def autocast_rounding(query: Tensor) -> torch.dtype | None:
    """What an attention kernel rounds its inputs to here: they are seen before the rounding.

    Float64 is left alone by autocast (`is_autocast_eligible` in ATen/autocast_mode.h).
    """
    device = query.device.type
    if query.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def plain_mask(mask: Any) -> Tensor:
    """The mask's values, also of a `torch.nn.attention.bias` object."""
    materialize = getattr(mask, "_materialize", None)
    plain: Tensor = mask if materialize is None else materialize(mask.device)
    return plain.detach()
