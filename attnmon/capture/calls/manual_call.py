"""Attention that the user passes to `record`, in the same form as what a tap sees."""

import torch
from torch import Tensor

from attnmon.capture.calls.attention_call import AttentionCall, default_scale
from attnmon.capture.calls.shapes import ShapeError, key_to_4d

_DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
RECORDED = "recorded"
"""`AttentionCall.source` of attention that the user passed to `record`."""


def manual_call(
    name: str,
    *,
    weights: Tensor | None = None,
    query: Tensor | None = None,
    key: Tensor | None = None,
    mask: Tensor | None = None,
    scale: float | None = None,
    causal: bool = False,
) -> AttentionCall:
    """Returns a call with these tensors, which are detached and not copied.

    weights: [batch, heads, queries, keys]; or query and key: [batch, heads, positions, width].
    Three dimensions are [batch, …] of one head, two are one head of one sample. mask:
    broadcastable to the weights; bool: True may be attended; float: added. Raises `ValueError`.
    """
    if not isinstance(name, str):
        raise ValueError("record: give the layer's name, a text, first")
    if (weights is None) == (query is None) or (query is None) != (key is None):
        raise ValueError(f"record({name!r}): give either weights, or query and key")
    main = _to_4d(name, weights if query is None else query)
    causal = bool(causal)
    if query is None or key is None:
        return AttentionCall(name, 0, RECORDED, main.shape[1], weights=main, causal=causal)
    try:
        keys = key_to_4d(_to_4d(name, key), main.shape, main)
    except ShapeError as error:
        raise ValueError(f"record({name!r}): {error}") from error
    if keys.shape[3] != main.shape[3]:
        raise ValueError(
            f"record({name!r}): the query is {main.shape[3]} wide, and the key {keys.shape[3]}"
        )
    _require_mask(name, mask, (*main.shape[:3], keys.shape[2]))
    return AttentionCall(
        name,
        0,
        RECORDED,
        main.shape[1],
        query=main,
        key=keys,
        bias=None if mask is None else mask.detach(),
        scale=default_scale(main) if scale is None else float(scale),
        causal=causal,
    )


def _to_4d(name: str, tensor: Tensor | None) -> Tensor:
    if not isinstance(tensor, Tensor) or not 2 <= tensor.dim() <= 4:
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ValueError(f"record({name!r}): give a tensor of 2 to 4 dimensions, not {shape}")
    if tensor.layout != torch.strided or tensor.dtype not in _DTYPES or tensor.is_meta:
        raise ValueError(
            f"record({name!r}): give a dense tensor of numbers, not {tensor.dtype} "
            f"({tensor.layout}, {tensor.device})"
        )
    if not tensor.numel():
        raise ValueError(f"record({name!r}): {tuple(tensor.shape)} is empty")
    tensor = tensor.detach()
    if tensor.dim() == 3:
        return tensor.unsqueeze(1)
    return tensor if tensor.dim() == 4 else tensor[None, None]


def _require_mask(name: str, mask: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise ValueError for a mask that does not broadcast to the weights."""
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype not in _DTYPES or mask.is_meta:
        raise ValueError(f"record({name!r}): give a mask of bool or of numbers, not {mask!r:.80}")
    sizes = zip(reversed(mask.shape), reversed(shape), strict=False)
    if mask.dim() > 4 or any(size not in (1, whole) for size, whole in sizes):
        raise ValueError(
            f"record({name!r}): a mask {tuple(mask.shape)} does not broadcast to {shape}"
        )
