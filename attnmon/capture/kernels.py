"""Fused attention calls: from a call's arguments and result to an `Observation`.

An adapter is called as the function was, after `place` and the function's result. It raises
`Refused`, with the reason, for what it cannot reproduce; it never guesses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnmon.capture.layout import beside, four_dimensional, mask_beside
from attnmon.capture.observation import Observation, default_scale


class Refused(Exception):
    """This call's attention cannot be told. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the model a call was made."""

    name: str
    call: int
    heads: int | None
    """Of the module that made the call, where it says."""


Adapter = Callable[..., Observation]


def adapter_of(function: Callable[..., Any]) -> Adapter | None:
    """The adapter of a fused attention function; None for any other function."""
    return _ADAPTERS.get(function)


def scaled_dot_product_attention(
    place: Place,
    result: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Observation:
    """`torch.nn.functional.scaled_dot_product_attention`, whatever name it was imported under."""
    require_plain(query, key, value, attn_mask)
    seen, query4 = query.shape, four_dimensional(query.detach(), place.heads)
    return Observation(
        name=place.name,
        call=place.call,
        source="scaled_dot_product_attention",
        heads=query4.shape[1],
        query=query4,
        key=beside(key.detach(), seen, query4),
        value=beside(value.detach(), seen, query4),
        bias=None if attn_mask is None else mask_beside(plain_mask(attn_mask), seen, query4),
        output=None if dropout_p > 0 else four_dimensional(result.detach(), place.heads),
        scale=default_scale(query) if scale is None else float(scale),
        causal=is_causal,
        rounding=autocast_rounding(query),
    )


def require_plain(*tensors: Tensor | None) -> None:
    """Raise `Refused` for tensors whose values cannot be read one sample at a time."""
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.is_nested:
            raise Refused("nested tensors: pass padded ones, or give the weights to record()")
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            raise Refused("inside torch.func (vmap, grad): give the weights to record()")


def plain_mask(mask: Any) -> Tensor:
    """The mask's values, also of a `torch.nn.attention.bias` object."""
    materialize = getattr(mask, "_materialize", None)
    plain: Tensor = mask if materialize is None else materialize(mask.device)
    return plain.detach()


def autocast_rounding(query: Tensor) -> torch.dtype | None:
    """What an attention kernel rounds its inputs to here: they are seen before the rounding.

    Float64 is left alone by autocast (`is_autocast_eligible` in ATen/autocast_mode.h).
    """
    device = query.device.type
    if query.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


_ADAPTERS: dict[Callable[..., Any], Adapter] = {
    F.scaled_dot_product_attention: scaled_dot_product_attention,
}
