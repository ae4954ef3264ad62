"""Selects layers and heads of a stored capture, as a monitor's settings do."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.arrays import Memory, read_array
from attnmon_renderer.analysis.layer_attention import LayerAttention, share_padding
from attnmon_renderer.redraw.stored_capture import StoredCapture
from attnmon_renderer.storage import paths

Layers = Sequence[int | str] | None
"""Indices within each kind of layer, negative from the end, or patterns of names; None: all."""
Heads = Sequence[int] | None
"""Head indices in the model; None: all that were stored."""


class NothingSelected(Exception):
    """No stored layer or head matches; the text names those that are stored."""


def select(
    stored: StoredCapture, layers: Layers, heads: Heads
) -> tuple[Capture, dict[Attention, LayerAttention]]:
    """Returns the capture with only these layers and heads, and the attention of each layer.

    Raises:
        NothingSelected: no stored layer or head matches.
    """
    capture = stored.capture
    selected = [
        attention for attention in capture.attentions if _is_selected(attention, capture, layers)
    ]
    if not selected:
        names = ", ".join(f"{paths.stem(a)} ({a.name})" for a in capture.attentions)
        raise NothingSelected(f"no layer is one of {_listed(layers or ())}; stored are {names}")
    stack = {attention.stack for attention in selected}
    others = [each for each in capture.attentions if each.stack in stack and each not in selected]
    attentions = dict(_with_heads(attention, heads, stored.memory) for attention in selected)
    share_padding([*attentions.values(), *(LayerAttention(each, stored.memory) for each in others)])
    return replace(capture, attentions=tuple(attentions)), attentions


def _is_selected(attention: Attention, capture: Capture, layers: Layers) -> bool:
    if layers is None:
        return True
    same_kind = [
        a.layer for a in capture.attentions if paths.layer_group(a) == paths.layer_group(attention)
    ]
    from_the_end = attention.layer - (max(same_kind) + 1)
    return any(
        fnmatchcase(attention.name, wanted)
        if isinstance(wanted, str)
        else wanted in (attention.layer, from_the_end)
        for wanted in layers
    )


def _with_heads(
    attention: Attention, heads: Heads, memory: Memory
) -> tuple[Attention, LayerAttention]:
    """Returns the layer unchanged, or with a copy of the selected heads only."""
    if heads is None:
        return attention, LayerAttention(attention, memory)
    absent = [head for head in heads if head not in attention.heads]
    if absent:
        stored = _listed(attention.heads)
        raise NothingSelected(
            f"{paths.stem(attention)} has no head {absent[0]}; stored are {stored}"
        )
    indices = [attention.heads.index(head) for head in heads]
    weights = _take_heads(attention.weights, indices, memory)
    bias = _take_heads(attention.bias, indices, memory)
    assert weights is not None
    reduced = replace(
        attention,
        heads=tuple(heads),
        weights=ArrayBlock(0, "float32", weights.shape),
        bias=None if bias is None else ArrayBlock(weights.nbytes, "bool", bias.shape),
    )
    copy = weights.tobytes() + (b"" if bias is None else bias.tobytes())
    return reduced, LayerAttention(reduced, copy)


def _take_heads(
    block: ArrayBlock | None, indices: list[int], memory: Memory
) -> NDArray[np.generic] | None:
    """Returns the array's heads at these indices, or all of it if the heads share it."""
    if block is None:
        return None
    array = read_array(block, memory)
    shared = array.ndim < 3 or len(array) == 1
    return np.asarray(array if shared else array[indices])


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
