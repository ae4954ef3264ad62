"""Which functions are fused attention, and the adapter of each."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from attnmon.capture.calls.adapter import (
    Adapter,
    CallSite,
    autocast_rounding,
    plain_mask,
    require_plain,
)
from attnmon.capture.calls.attention_call import AttentionCall, default_scale
from attnmon.capture.calls.shapes import beside, four_dimensional, mask_beside
from attnmon.capture.kernels import custom_ops
from attnmon.capture.kernels.flex_attention import flex_attention
from attnmon.capture.kernels.multi_head import multi_head_attention_forward
from attnmon.capture.kernels.sdpa import sdpa_call


@cache
def adapter_of(function: Callable[..., Any]) -> Adapter | None:
    """The adapter of an attention function; None for any other function.

    Also for operators that are attention by their name alone: those are refused, with a reason.
    """
    if function is F.scaled_dot_product_attention:
        return scaled_dot_product_attention
    if function is F.multi_head_attention_forward:
        return multi_head_attention_forward
    if isinstance(function, HigherOrderOperator):
        return flex_attention if function.__name__ == "flex_attention" else None
    if isinstance(function, (OpOverload, OpOverloadPacket)):
        known = custom_ops.is_known(function) or custom_ops.sounds_like_attention(function)
        return partial(custom_ops.operator, operator=function) if known else None
    return None


def scaled_dot_product_attention(
    place: CallSite,
    result: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionCall:
    """`torch.nn.functional.scaled_dot_product_attention`, whatever name it was imported under."""
    require_plain(query, key, value, attn_mask)
    plain = sdpa_call(place, query, key, value, attn_mask, dropout_p, is_causal, scale)
    seen, query4 = query.shape, four_dimensional(query.detach(), place.heads)
    return AttentionCall(
        name=place.name,
        call_index=place.call_index,
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
        look=None if plain is None else plain.look,
    )
