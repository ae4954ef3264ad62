"""Attention operators that libraries register with torch, known by their qualified names.

Arguments are read by the names in the operator's schema; one that is not known, and is used, has
the call refused. Sources: flash_attn/flash_attn_interface.py and hopper/flash_attn_interface.py in
Dao-AILab/flash-attention; xformers/ops/fmha/{cutlass,flash}.py in facebookresearch/xformers.
"""

import re
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket

from attnmon.capture.calls.adapter import CallSite, UnsupportedCall, require_plain
from attnmon.capture.calls.attention_call import AttentionCall, default_scale
from attnmon.capture.kernels.position_masks import PositionMask, Positions

Operator = OpOverload[..., Any] | OpOverloadPacket[..., Any]

_KNOWN = {
    "flash_attn::_flash_attn_forward",
    "flash_attn::_flash_attn_varlen_forward",
    "flash_attn_3::_flash_attn_forward",
    "flash_attn_3::fwd",
    "xformers::efficient_attention_forward_cutlass",
    "xformers_flash::flash_fwd",
}
_MEANINGS = {
    "query": "q query",
    "key": "k key",
    "value": "v value",
    "scale": "scale softmax_scale",
    "dropout": "dropout_p p",
    "causal": "causal is_causal",
    "custom_mask_type": "custom_mask_type",
    "left": "window_size_left window_left",
    "right": "window_size_right window_right",
    "softcap": "softcap",
    "slopes": "alibi_slopes",
    "bias": "attn_bias",
    "sinks": "s_aux",
    "query_starts": "cu_seqlens_q",
    "key_starts": "cu_seqlens_k",
    "": (
        "max_seqlen_q max_seqlen_k return_softmax compute_logsumexp out num_splits pack_gqa "
        "sm_margin scheduler_metadata rotary_interleaved deterministic zero_tensors"
    ),
}
"""What the arguments mean; the last line's change nothing about the weights."""
_MEANING = {name: meaning for meaning, names in _MEANINGS.items() for name in names.split()}
_SOUNDS_LIKE = re.compile(r"attn|attention", re.I)
_IS_NOT = re.compile(r"backward|bwd|^aten::", re.I)


def qualified_name(operator: Operator) -> str:
    """As in "namespace::operator", without the overload."""
    return str(_schema(operator).name)


def _schema(operator: Any) -> Any:
    if isinstance(operator, OpOverloadPacket):
        operator = getattr(operator, operator.overloads()[0])  # type: ignore[no-untyped-call]
    return operator._schema


def is_known(operator: Operator) -> bool:
    return qualified_name(operator) in _KNOWN


def sounds_like_attention(operator: Operator) -> bool:
    name = qualified_name(operator)
    return bool(_SOUNDS_LIKE.search(name)) and not _IS_NOT.search(name)


def operator(
    place: CallSite, result: Any, *args: Any, operator: Operator, **kwargs: Any
) -> AttentionCall:
    """Any of these operators. Tensors are [batch, positions, heads, width], or packed.

    Packed ones, [positions of all sequences, heads, width], are told as one sample in which each
    sequence sees itself alone.
    """
    name = qualified_name(operator)
    if name not in _KNOWN:
        raise UnsupportedCall(f"the operator {name} is not known: give query and key to record()")
    given = _bound(operator, args, kwargs)
    query, key, value = (given[part] for part in ("query", "key", "value"))
    require_plain(query, key, value)
    starts = _starts(given)
    packed = starts is not None
    output = result[0] if isinstance(result, (tuple, list)) else result
    query, key, value, output = (
        _heads_first(tensor, packed) for tensor in (query, key, value, output)
    )
    scale, band = given.get("scale"), _band(name, given)
    places = Positions.of(query.shape[-2], key.shape[-2], query.device, starts, band.from_the_end)
    plain = band.is_triangle and query.shape[-2] == key.shape[-2] and not packed
    return AttentionCall(
        name=place.name,
        call_index=place.call_index,
        source=name,
        heads=query.shape[1],
        query=query,
        key=key,
        value=value,
        output=None if given.get("dropout") else output,
        bias=_bias(given, places, PositionMask() if plain else band),
        scale=default_scale(query) if scale is None else float(scale),
        causal=plain,
        softcap=float(given.get("softcap") or 0.0),
        sinks=given.get("sinks"),
    )


def _bound(operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Sort the arguments by meaning. Raises `UnsupportedCall` for one in use that is unknown."""
    declared = _schema(operator).arguments
    named = {argument.name: value for argument, value in zip(declared, args, strict=False)} | kwargs
    for argument in declared:
        value = named.get(argument.name)
        if argument.name not in _MEANING and _is_used(value, argument.default_value):
            raise UnsupportedCall(f"{qualified_name(operator)} with {argument.name}: not known")
    return {_MEANING[name]: value for name, value in named.items() if name in _MEANING}


def _starts(given: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Of packed sequences; None for tensors that have a batch dimension."""
    query_starts, key_starts = (given.get(name) for name in ("query_starts", "key_starts"))
    if isinstance(query_starts, Tensor) and isinstance(key_starts, Tensor):
        return query_starts, key_starts
    return None


def _is_used(value: Any, default: Any) -> bool:
    return isinstance(value, Tensor) or (value not in (None, False, 0) and value != default)


def _heads_first(tensor: Tensor, packed: bool) -> Tensor:
    if tensor.dim() != (3 if packed else 4):
        raise UnsupportedCall(f"tensors of shape {tuple(tensor.shape)}: not known")
    tensor = tensor.detach()
    return (tensor[None] if packed else tensor).transpose(1, 2)


def _band(name: str, given: dict[str, Any]) -> PositionMask:
    """xformers counts causality from the first key, unless told; flash-attn from the last."""
    corner = given.get("custom_mask_type")
    left, right = (given.get(side) for side in ("left", "right"))
    return PositionMask(
        causal=bool(given.get("causal") or corner),
        left=-1 if left is None else left,
        right=-1 if right is None else right,
        from_the_end="cutlass" not in name or corner == 2,
    )


def _bias(given: dict[str, Any], places: Positions, band: PositionMask) -> Tensor | None:
    """What is allowed (bool), or added (float): [batch or 1, heads or 1, queries, keys]."""
    allowed, added = places.allowed(band), given.get("bias")
    if given.get("slopes") is not None:
        added = places.alibi(given["slopes"])
    if added is None:
        return allowed
    bias: Tensor = added.detach()
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)
