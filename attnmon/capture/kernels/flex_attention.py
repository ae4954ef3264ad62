"""Adapter of `flex_attention`, whose masks and score functions are Python code.

The tap sees the operator that `torch.nn.attention.flex_attention` calls in the end, after it has
checked and completed the arguments.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnmon.capture.calls.adapter import (
    CallSite,
    UnsupportedCall,
    autocast_rounding,
    require_plain,
    require_small,
)
from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.calls.shapes import key_to_4d

Modification = Callable[..., Tensor]
"""Score function (score, batch, head, query, key), or mask function (batch, head, query, key)."""


def flex_attention(
    site: CallSite,
    result: tuple[Tensor, ...],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Modification,
    block_mask: tuple[Any, ...],
    scale: float,
    *_: Any,
) -> AttentionCall:
    """Describes a call by query, key and mask; with a score function, by its weights.

    A mask depends on positions alone, so it can be written out. A score function may do anything
    with the score, so the weights have to be computed with it.
    """
    require_plain(query, key, value)
    if site.layout is not None and not site.layout.is_plain:
        raise UnsupportedCall("samples or heads in an unusual order: give weights to record()")
    query, key, value = (tensor.detach() for tensor in (query, key, value))
    key, value = (key_to_4d(tensor, query.shape, query) for tensor in (key, value))
    mask = _materialized_mask(block_mask, query, key)
    rounding = autocast_rounding(query)
    weights = None
    if getattr(score_mod, "__name__", "") != "_identity":
        weights = _weights(query, key, score_mod, mask, scale, rounding)
    return AttentionCall(
        name=site.name,
        call_index=site.call_index,
        source="flex_attention",
        heads=query.shape[1],
        query=query if weights is None else None,
        key=key if weights is None else None,
        weights=weights,
        bias=mask if weights is None else None,
        value=value,
        output=result[0].detach(),
        scale=float(scale),
        rounding=rounding,
        note="" if site.layout is None else site.layout.note,
        layout=site.layout,
        is_cross=site.is_cross,
    )


def _materialized_mask(block_mask: tuple[Any, ...], query: Tensor, key: Tensor) -> Tensor | None:
    """Returns [batch or 1, heads or 1, queries, keys], True where the mask function allows it."""
    mask_mod, blocks = block_mask[-1], block_mask[2]
    if getattr(mask_mod, "__name__", "") == "noop_mask":
        return None
    shape = (*blocks.shape[:2], query.shape[-2], key.shape[-2])
    require_small(torch.Size(shape).numel(), "this mask")
    return _at_all_positions(mask_mod, shape, query.device)


def _weights(
    query: Tensor,
    key: Tensor,
    score_mod: Modification,
    mask: Tensor | None,
    scale: float,
    rounding: torch.dtype | None,
) -> Tensor:
    shape = (*query.shape[:3], key.shape[-2])
    require_small(torch.Size(shape).numel(), "this score function")
    with torch.autocast(query.device.type, enabled=False):
        query, key = (tensor.to(rounding or tensor.dtype).float() for tensor in (query, key))
        repeated = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        scores = _at_all_positions(score_mod, shape, query.device, query @ repeated.mT * scale)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(-1).nan_to_num(0.0)


def _at_all_positions(
    modification: Modification, shape: tuple[int, ...], device: torch.device, *scores: Tensor
) -> Tensor:
    """Returns the function at each (batch, head, query, key), vectorised as flex_attention does."""
    # Importable only with dynamo, which flex_attention has loaded by now.
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    positions = [torch.arange(length, device=device) for length in shape]
    for dimension in reversed(range(4)):
        in_dims = tuple(0 if other == dimension else None for other in range(4))
        modification = torch.vmap(modification, in_dims=(*(0 for _ in scores), *in_dims))
    with TransformGetItemToIndex():  # lets these functions index tensors by position
        return modification(*scores, *positions).expand(shape)
