"""Attention that the user passes to `record`, in the same form as what a tap sees."""

from torch import Tensor

from attnmon.capture.calls.attention_call import AttentionCall, default_scale
from attnmon.capture.calls.shapes import ShapeError, key_to_4d

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
    if query is None or key is None:
        return AttentionCall(name, 0, RECORDED, main.shape[1], weights=main, causal=causal)
    try:
        keys = key_to_4d(_to_4d(name, key), main.shape, main)
    except ShapeError as error:
        raise ValueError(f"record({name!r}): {error}") from error
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
    tensor = tensor.detach()
    if tensor.dim() == 3:
        return tensor.unsqueeze(1)
    return tensor if tensor.dim() == 4 else tensor[None, None]
