"""Adapter of attention operators that libraries register with torch.

Operators are known by their qualified names, and their arguments by the names in the operator's
schema. A call that uses an unknown argument is refused. Sources:
flash_attn/flash_attn_interface.py and hopper/flash_attn_interface.py in Dao-AILab/flash-attention;
xformers/ops/fmha/{cutlass,flash}.py in facebookresearch/xformers.
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
"""Names of arguments by their meaning. Those without a meaning do not change the weights."""
_MEANING = {name: meaning for meaning, names in _MEANINGS.items() for name in names.split()}
_ATTENTION = re.compile(r"attn|attention", re.I)
_NOT_FORWARD = re.compile(r"backward|bwd|^aten::", re.I)


def qualified_name(operator: Operator) -> str:
    """Returns "namespace::operator", without the overload."""
    return str(_schema(operator).name)


def _schema(operator: Any) -> Any:
    if isinstance(operator, OpOverloadPacket):
        operator = getattr(operator, operator.overloads()[0])
    return operator._schema


def is_known(operator: Operator) -> bool:
    """Whether this adapter can describe the operator's calls."""
    return qualified_name(operator) in _KNOWN


def sounds_like_attention(operator: Operator) -> bool:
    """Whether the operator's name suggests that it computes attention."""
    name = qualified_name(operator)
    return bool(_ATTENTION.search(name)) and not _NOT_FORWARD.search(name)


def custom_operator(
    site: CallSite, result: Any, *args: Any, operator: Operator, **kwargs: Any
) -> AttentionCall:
    """Describes a call of a known operator. Raises `UnsupportedCall` for any other.

    Its tensors are [batch, positions, heads, width], or packed: [positions of all sequences, heads,
    width]. Packed sequences become one sample in which each sequence sees only itself.
    """
    name = qualified_name(operator)
    if name not in _KNOWN:
        raise UnsupportedCall(f"the operator {name} is not known: give query and key to record()")
    arguments = _by_meaning(operator, args, kwargs)
    query, key, value = (arguments[part] for part in ("query", "key", "value"))
    require_plain(query, key, value)
    starts = _sequence_starts(arguments)
    packed = starts is not None
    output = result[0] if isinstance(result, (tuple, list)) else result
    query, key, value, output = (
        _heads_first(tensor, packed) for tensor in (query, key, value, output)
    )
    scale, mask = arguments.get("scale"), _position_mask(name, arguments)
    queries, keys = query.shape[-2], key.shape[-2]
    positions = Positions.of(queries, keys, query.device, starts, mask.aligned_at_end)
    causal = mask.is_triangle and queries == keys and not packed
    return AttentionCall(
        name=site.name,
        call_index=site.call_index,
        source=name,
        heads=query.shape[1],
        query=query,
        key=key,
        value=value,
        output=None if arguments.get("dropout") else output,
        bias=_bias(arguments, positions, PositionMask() if causal else mask),
        scale=default_scale(query) if scale is None else float(scale),
        causal=causal,
        softcap=float(arguments.get("softcap") or 0.0),
        sinks=arguments.get("sinks"),
    )


def _by_meaning(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Returns the arguments by meaning. Raises `UnsupportedCall` if an unknown one is used."""
    declared = _schema(operator).arguments
    named = {argument.name: value for argument, value in zip(declared, args, strict=False)} | kwargs
    for argument in declared:
        value = named.get(argument.name)
        if argument.name not in _MEANING and _is_used(value, argument.default_value):
            raise UnsupportedCall(f"{qualified_name(operator)} with {argument.name}: not known")
    return {_MEANING[name]: value for name, value in named.items() if name in _MEANING}


def _sequence_starts(arguments: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Returns where packed sequences of queries and keys start; None for batched tensors."""
    query_starts, key_starts = (arguments.get(name) for name in ("query_starts", "key_starts"))
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


def _position_mask(name: str, arguments: dict[str, Any]) -> PositionMask:
    """Returns the mask. xformers aligns it at the first key by default, flash-attn at the last."""
    corner = arguments.get("custom_mask_type")
    left, right = (arguments.get(side) for side in ("left", "right"))
    return PositionMask(
        causal=bool(arguments.get("causal") or corner),
        left=-1 if left is None else left,
        right=-1 if right is None else right,
        aligned_at_end="cutlass" not in name or corner == 2,
    )


def _bias(arguments: dict[str, Any], positions: Positions, mask: PositionMask) -> Tensor | None:
    """Returns the call's `AttentionCall.bias`: bool if nothing is added to the logits."""
    allowed, added = positions.allowed(mask), arguments.get("bias")
    if arguments.get("slopes") is not None:
        added = positions.alibi(arguments["slopes"])
    if added is None:
        return allowed
    bias: Tensor = added.detach()
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)
