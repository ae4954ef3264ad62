"""The weights that follow from a query and a key, and how well they explain the call's own output.

Dense, in torch: for a few rows, to check a capture. The renderer computes whole maps tile by tile.
"""

import math

import torch
from torch import Tensor

from attnmon.capture.calls.attention_call import AttentionCall

ROWS = 16
"""Queries that a check looks at, evenly spaced: what is wrong for one is wrong for most."""

_HALF = (torch.bfloat16, torch.float16)
_TINY = torch.finfo(torch.float32).tiny


def attention_weights(
    observation: AttentionCall, rows: Tensor | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The weights of these query `rows` (all, if None): […, heads, rows, keys], in `dtype`.

    A query that may attend to nothing has weights of 0, as the fused kernels have it.
    """
    rows = _all_rows(observation) if rows is None else rows
    if observation.weights is not None:
        return observation.weights.index_select(-2, rows).to(dtype)
    logits = _masked(_logits(observation, rows, dtype), observation, rows)
    if observation.sinks is None:
        return logits.softmax(-1).nan_to_num(0.0)
    sinks = observation.sinks.to(dtype)[:, None, None].expand(*logits.shape[:-1], 1)
    return torch.cat([logits, sinks], -1).softmax(-1)[..., :-1]


def output_error(observation: AttentionCall) -> Tensor | None:
    """‖weights · value − output‖ / ‖output‖ over some rows, a tensor of no dimensions.

    None where the call's value or output is not known. It stays on the device: reading it waits.
    """
    value, output = observation.value, observation.output
    if value is None or output is None or 0 in output.shape:
        return None
    count = min(ROWS, observation.queries)
    rows = torch.linspace(0, observation.queries - 1, count, device=output.device).long()
    weights = attention_weights(observation, rows)
    expected = output.index_select(-2, rows).float()
    repeated = _for_each_head(value.float(), observation.heads)
    difference = torch.linalg.norm(weights @ repeated - expected)
    error: Tensor = difference / torch.linalg.norm(expected).clamp_min(_TINY)
    return error


def measured_error(observation: AttentionCall) -> float | None:
    """`output_error` as a number; None where it is not known, or could only be had by waiting."""
    error = output_error(observation) if observation.is_on_cpu else None
    return None if error is None else float(error)


def approximation_note(observation: AttentionCall, error: float | None) -> str:
    """Why these weights cannot be quite the model's; empty when they explain its output."""
    if error is None or not error > tolerance(observation):
        return ""
    return f"the weights explain the layer's output only to {error:.1g}"


def tolerance(observation: AttentionCall) -> float:
    """The error a right capture may have, by what the kernel computed in.

    Measured floors are 3e-7 in float32 and 5e-3 in bfloat16, whose weights a kernel rounds.
    """
    output = observation.output
    return 3e-2 if output is not None and output.dtype in _HALF else 1e-4


def _logits(observation: AttentionCall, rows: Tensor, dtype: torch.dtype) -> Tensor:
    query, key = observation.query, observation.key
    assert query is not None
    assert key is not None
    key = _for_each_head(key.to(dtype), observation.heads)
    logits = query.index_select(-2, rows).to(dtype) @ key.mT * observation.scale
    if observation.softcap:
        logits = observation.softcap * torch.tanh(logits / observation.softcap)
    return logits


def _for_each_head(tensor: Tensor, heads: int) -> Tensor:
    """Keys or values of fewer heads, repeated for the queries' heads; as they are, if as many."""
    groups = heads // tensor.shape[-3]
    return tensor if groups == 1 else tensor.repeat_interleave(groups, -3)


def _masked(logits: Tensor, observation: AttentionCall, rows: Tensor) -> Tensor:
    if observation.causal:
        keys = torch.arange(observation.keys, device=logits.device)
        logits = logits.masked_fill(keys > rows[:, None], -math.inf)
    bias = observation.bias
    if bias is None:
        return logits
    if bias.dim() > 1 and bias.shape[-2] > 1:
        bias = bias.index_select(-2, rows)
    if bias.dtype == torch.bool:
        return logits.masked_fill(~bias, -math.inf)
    return logits + bias.to(logits.dtype)


def _all_rows(observation: AttentionCall) -> Tensor:
    seen = observation.query if observation.weights is None else observation.weights
    assert seen is not None
    return torch.arange(observation.queries, device=seen.device)
