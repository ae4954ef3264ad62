"""Checks a capture: weights computed from query and key, compared with the call's own output.

Dense, in torch, and only for a few rows. The renderer computes whole maps tile by tile.
"""

import math

import torch
from torch import Tensor

from attnmon.capture.calls.attention_call import AttentionCall

ROWS = 16
"""Number of queries, evenly spaced, that a check reads: an error in one is in most."""

_HALF = (torch.bfloat16, torch.float16)
_TINY = torch.finfo(torch.float32).tiny


def attention_weights(
    call: AttentionCall, rows: Tensor | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Returns the weights of these query `rows`, or of all: […, heads, rows, keys], in `dtype`.

    A query that may attend to no key has weights of 0, as in the fused kernels.
    """
    rows = _all_rows(call) if rows is None else rows
    if call.weights is not None:
        return call.weights.index_select(-2, rows).to(dtype)
    logits = _masked(_logits(call, rows, dtype), call, rows)
    if call.sinks is None:
        return logits.softmax(-1).nan_to_num(0.0)
    sinks = call.sinks.to(dtype)[:, None, None].expand(*logits.shape[:-1], 1)
    return torch.cat([logits, sinks], -1).softmax(-1)[..., :-1]


def output_error(call: AttentionCall) -> Tensor | None:
    """Returns ‖weights · value − output‖ / ‖output‖ over some rows, as a tensor of no dimensions.

    None if the call's value or output is unknown. The result stays on the device: reading it waits.
    """
    value, output = call.value, call.output
    if value is None or output is None or 0 in output.shape:
        return None
    count = min(ROWS, call.queries)
    rows = torch.linspace(0, call.queries - 1, count, device=output.device).long()
    weights = attention_weights(call, rows)
    expected = output.index_select(-2, rows).float()
    repeated = _for_each_head(value.float(), call.heads)
    difference = torch.linalg.norm(weights @ repeated - expected)
    error: Tensor = difference / torch.linalg.norm(expected).clamp_min(_TINY)
    return error


def measured_error(call: AttentionCall) -> float | None:
    """Returns `output_error` as a number; None if unknown, or if reading it would wait."""
    error = output_error(call) if call.is_on_cpu else None
    return None if error is None else float(error)


def approximation_note(call: AttentionCall, error: float | None) -> str:
    """Returns why these weights differ from the model's; empty if they explain its output."""
    if error is None or not error > tolerance(call):
        return ""
    return f"the weights explain the layer's output only to {error:.1g}"


def tolerance(call: AttentionCall) -> float:
    """Returns the largest `output_error` of a correct capture, by the dtype of the kernel.

    Measured errors are 3e-7 in float32 and 5e-3 in bfloat16, where a kernel rounds the weights.
    """
    output = call.output
    return 3e-2 if output is not None and output.dtype in _HALF else 1e-4


def _logits(call: AttentionCall, rows: Tensor, dtype: torch.dtype) -> Tensor:
    query, key = call.query, call.key
    assert query is not None
    assert key is not None
    key = _for_each_head(key.to(dtype), call.heads)
    logits = query.index_select(-2, rows).to(dtype) @ key.mT * call.scale
    if call.softcap:
        logits = call.softcap * torch.tanh(logits / call.softcap)
    return logits


def _for_each_head(tensor: Tensor, heads: int) -> Tensor:
    """Returns keys or values repeated for all query heads; unchanged if there are as many."""
    groups = heads // tensor.shape[-3]
    return tensor if groups == 1 else tensor.repeat_interleave(groups, -3)


def _masked(logits: Tensor, call: AttentionCall, rows: Tensor) -> Tensor:
    if call.causal:
        keys = torch.arange(call.keys, device=logits.device)
        logits = logits.masked_fill(keys > rows[:, None], -math.inf)
    bias = call.bias
    if bias is None:
        return logits
    if bias.dim() > 1 and bias.shape[-2] > 1:
        bias = bias.index_select(-2, rows)
    if bias.dtype == torch.bool:
        return logits.masked_fill(~bias, -math.inf)
    return logits + bias.to(logits.dtype)


def _all_rows(call: AttentionCall) -> Tensor:
    main = call.query if call.weights is None else call.weights
    assert main is not None
    return torch.arange(call.queries, device=main.device)
