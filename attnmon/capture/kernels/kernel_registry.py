"""Finds the adapter of a fused attention function."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from attnmon.capture.calls.adapter import (
    Adapter,
    CallSite,
    UnsupportedCall,
    autocast_rounding,
    plain_mask,
    require_plain,
)
from attnmon.capture.calls.attention_call import AttentionCall, default_scale
from attnmon.capture.calls.kernel_shapes import KernelShapes
from attnmon.capture.kernels import custom_ops
from attnmon.capture.kernels.flex_attention import flex_attention
from attnmon.capture.kernels.multi_head import multi_head_attention_forward
from attnmon.capture.kernels.sdpa import sdpa_call


@cache
def adapter_of(function: Callable[..., Any]) -> Adapter | None:
    """Returns the adapter of an attention function; None for any other function.

    An operator that is attention only by its name has an adapter that refuses it with a reason.
    """
    if function is F.scaled_dot_product_attention:
        return scaled_dot_product_attention
    if function is F.multi_head_attention_forward:
        return multi_head_attention_forward
    if isinstance(function, HigherOrderOperator):
        return flex_attention if function.__name__ == "flex_attention" else None
    if isinstance(function, (OpOverload, OpOverloadPacket)):
        known = custom_ops.is_known(function) or custom_ops.sounds_like_attention(function)
        return partial(custom_ops.custom_operator, operator=function) if known else None
    return None


def scaled_dot_product_attention(
    site: CallSite,
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
    """Describes a call of `torch.nn.functional.scaled_dot_product_attention`."""
    require_plain(query, key, value, attn_mask)
    caller = site.name, site.call_index
    sdpa = sdpa_call(*caller, query, key, value, attn_mask, dropout_p, is_causal, scale)
    mask = None if attn_mask is None else plain_mask(attn_mask)
    arrange = KernelShapes.of(query.detach(), site.layout, site.heads)
    if is_causal and site.layout is not None and site.layout.row_splits:
        raise UnsupportedCall("causal attention of rows that hold several samples or heads")
    return AttentionCall(
        name=site.name,
        call_index=site.call_index,
        source="scaled_dot_product_attention",
        heads=arrange.query.shape[1],
        query=arrange.query,
        key=arrange.key(key.detach()),
        value=arrange.key(value.detach()),
        bias=None if mask is None else arrange.mask(mask),
        output=None if dropout_p > 0 else arrange.output(result.detach()),
        scale=default_scale(query) if scale is None else float(scale),
        causal=is_causal,
        rounding=autocast_rounding(query),
        signature=None if sdpa is None else sdpa.signature,
        note=arrange.note,
        layout=site.layout,
        is_cross=site.is_cross,
    )
