"""A fused call whose tensors are laid out as they are sent: only to be copied, once it is known.

To describe a call takes as long as to copy it. One that looks as it did before need not be.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from attnmon.capture.calls.adapter import CallSite, autocast_rounding
from attnmon.capture.calls.attention_call import one_of

CallSignature = tuple[object, ...]
"""All that the description of a call follows from, but values."""


class SdpaCall(NamedTuple):
    """A call of `scaled_dot_product_attention`, of tensors that are the model's own."""

    name: str
    """Of the module, and which of its attention calls in this forward, as of an `Observation`."""
    call_index: int
    look: CallSignature
    query: Tensor
    """[batch, heads, queries, width]"""
    key: Tensor
    """[batch, key heads, keys, width]"""
    mask: Tensor | None
    """As `Observation.bias`."""
    rounding: torch.dtype | None

    @property
    def batch(self) -> int:
        return self.query.shape[0]

    def mask_of(self, sample: int) -> Tensor | None:
        return one_of(self.mask, sample, self.rounding)


def sdpa_call(
    place: CallSite,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | Tensor | None = None,
    enable_gqa: bool = False,
) -> SdpaCall | None:
    """The call, by its arguments; None where these have to be rearranged, or values looked at."""
    if type(query) is not Tensor or type(key) is not Tensor or query.is_nested or key.is_nested:
        return None
    if not (attn_mask is None or type(attn_mask) is Tensor) or _is_inside_functorch():
        return None
    if isinstance(scale, Tensor):  # another number at the next call, perhaps
        return None
    shape, key_shape = query.shape, key.shape
    if len(shape) != 4 or len(key_shape) != 4 or shape[0] != key_shape[0]:
        return None
    rounding = autocast_rounding(query)
    where = place.name, place.call_index
    look = *where, shape, key_shape, query.dtype, key.dtype, rounding, is_causal, scale
    return SdpaCall(*where, look, query, key, attn_mask, rounding)


def _is_inside_functorch() -> bool:
    """Whether tensors may be wrapped here, by vmap or grad."""
    return torch._C._functorch.peek_interpreter_stack() is not None
