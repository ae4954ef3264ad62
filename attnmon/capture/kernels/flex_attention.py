"""`flex_attention`: masks and score functions given as Python code, evaluated where they are used.

It is seen as the operator that `torch.nn.attention.flex_attention` ends in, after the arguments
have been checked and completed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnmon.capture.calls.adapter import CallSite, autocast_rounding, require_plain, require_small
from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.calls.shapes import beside

Modification = Callable[..., Tensor]
"""A score function (score, batch, head, query, key), or a mask function without the score."""


def flex_attention(
    place: CallSite,
    result: tuple[Tensor, ...],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Modification,
    block_mask: tuple[Any, ...],
    scale: float,
    *_: Any,
) -> AttentionCall:
    """Its query and key with the mask written out; with a score function, its weights.

    A mask depends on positions alone. A score function may do anything with the score, so that
    only evaluating it tells.
    """
    require_plain(query, key, value)
    query, key, value = (tensor.detach() for tensor in (query, key, value))
    key, value = (beside(tensor, query.shape, query) for tensor in (key, value))
    mask = _written_out(block_mask, query, key)
    rounding = autocast_rounding(query)
    weights = None
    if getattr(score_mod, "__name__", "") != "_identity":
        weights = _weights(query, key, score_mod, mask, scale, rounding)
    return AttentionCall(
        name=place.name,
        call_index=place.call_index,
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
    )


def _written_out(block_mask: tuple[Any, ...], query: Tensor, key: Tensor) -> Tensor | None:
    """[batch or 1, heads or 1, queries, keys], True where the mask function allows it."""
    mask_mod, blocks = block_mask[-1], block_mask[2]
    if getattr(mask_mod, "__name__", "") == "noop_mask":
        return None
    shape = (*blocks.shape[:2], query.shape[-2], key.shape[-2])
    require_small(torch.Size(shape).numel(), "this mask")
    return _over_all_places(mask_mod, shape, query.device)


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
        scores = _over_all_places(score_mod, shape, query.device, query @ repeated.mT * scale)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(-1).nan_to_num(0.0)


def _over_all_places(
    modification: Modification, shape: tuple[int, ...], device: torch.device, *scores: Tensor
) -> Tensor:
    """The function's value at each (batch, head, query, key), as flex_attention itself calls it."""
    # Importable only with dynamo, which flex_attention has loaded by now.
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    places = [torch.arange(length, device=device) for length in shape]
    for dimension in reversed(range(4)):
        along = tuple(0 if at == dimension else None for at in range(4))
        modification = torch.vmap(modification, in_dims=(*(0 for _ in scores), *along))
    with TransformGetItemToIndex():  # lets these functions index tensors by position
        return modification(*scores, *places).expand(shape)
