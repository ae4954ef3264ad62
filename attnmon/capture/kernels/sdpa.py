"""Calls of `scaled_dot_product_attention` that can be copied without being described again.

Describing a call as an `AttentionCall` takes as long as copying it. A call with the signature of an
earlier one needs only the copy.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from attnmon.capture.calls.adapter import autocast_rounding
from attnmon.capture.calls.attention_call import sample_of

CallSignature = tuple[object, ...]
"""All that determines the description of a call, except the values of its tensors."""


_innermost_transform = torch._C._functorch.peek_interpreter_stack


class SdpaCall(NamedTuple):
    """A call of `scaled_dot_product_attention` in the usual layout; tensors are the model's own."""

    name: str
    """As `AttentionCall.name`."""
    call_index: int
    """As `AttentionCall.call_index`."""
    signature: CallSignature
    """Equal for two calls only if their descriptions are equal."""
    query: Tensor
    """[batch, heads, queries, width]"""
    key: Tensor
    """[batch, key heads, keys, width]"""
    mask: Tensor | None
    """As `AttentionCall.bias`."""
    rounding: torch.dtype | None
    """As `AttentionCall.rounding`."""
    batch: int
    """Number of samples."""

    def mask_of(self, sample: int) -> Tensor | None:
        """Returns the mask of one sample, rounded as autocast does."""
        return sample_of(self.mask, sample, self.rounding)


def sdpa_call(
    name: str,
    call_index: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | Tensor | None = None,
    enable_gqa: bool = False,
) -> SdpaCall | None:
    """Returns the call; None if describing it takes more than its shapes, dtypes and flags."""
    if type(query) is not Tensor or type(key) is not Tensor or query.is_nested or key.is_nested:
        return None
    if not (attn_mask is None or type(attn_mask) is Tensor):
        return None
    if isinstance(scale, Tensor):  # its value may differ at the next call
        return None
    if _innermost_transform() is not None:  # vmap or grad may wrap tensors
        return None
    shape, key_shape = query.shape, key.shape
    if len(shape) != 4 or len(key_shape) != 4 or shape[0] != key_shape[0]:
        return None
    rounding = autocast_rounding(query)
    dtypes = query.dtype, key.dtype
    signature = (name, call_index, shape, key_shape, *dtypes, rounding, is_causal, scale)
    return SdpaCall(name, call_index, signature, query, key, attn_mask, rounding, shape[0])
