"""Some layers and heads of a stored capture, chosen as a monitor's settings choose them."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from attnmon.link.messages import ArrayBlock, Attention, Capture
from attnmon_renderer.analysis.arrays import Memory, read_array
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.redraw.stored_capture import StoredCapture
from attnmon_renderer.storage import paths

Layers = Sequence[int | str] | None
"""Indices within each kind of layer, negative from the end, or patterns of names; None is all."""
Heads = Sequence[int] | None
"""In the model's numbering; None is all that were stored."""


class NothingChosen(Exception):
    """No layer, or no head, of that description was stored; says what there is."""


def choose(
    stored: StoredCapture, layers: Layers, heads: Heads
) -> tuple[Capture, dict[Attention, LayerAttention]]:
    """The capture of these layers and heads, and each layer's weights. Raises NothingChosen."""
    capture = stored.capture
    chosen = [
        attention for attention in capture.attentions if _is_chosen(attention, capture, layers)
    ]
    if not chosen:
        names = ", ".join(f"{paths.stem(a)} ({a.name})" for a in capture.attentions)
        raise NothingChosen(f"no layer is one of {_listed(layers or ())}; stored are {names}")
    given = dict(_with_heads(attention, heads, stored.memory) for attention in chosen)
    return replace(capture, attentions=tuple(given)), given


def _is_chosen(attention: Attention, capture: Capture, layers: Layers) -> bool:
    if layers is None:
        return True
    alike = [a.layer for a in capture.attentions if paths.kind(a) == paths.kind(attention)]
    from_the_end = attention.layer - (max(alike) + 1)
    return any(
        fnmatchcase(attention.name, wanted)
        if isinstance(wanted, str)
        else wanted in (attention.layer, from_the_end)
        for wanted in layers
    )


def _with_heads(
    attention: Attention, heads: Heads, memory: Memory
) -> tuple[Attention, LayerAttention]:
    """The layer as it is, or with a copy of some of its heads."""
    if heads is None:
        return attention, LayerAttention(attention, memory)
    absent = [head for head in heads if head not in attention.heads]
    if absent:
        there = _listed(attention.heads)
        raise NothingChosen(f"{paths.stem(attention)} has no head {absent[0]}; stored are {there}")
    positions = [attention.heads.index(head) for head in heads]
    weights = _cut(attention.weights, positions, memory)
    bias = _cut(attention.bias, positions, memory)
    assert weights is not None
    some = replace(
        attention,
        heads=tuple(heads),
        weights=ArrayBlock(0, "float32", weights.shape),
        bias=None if bias is None else ArrayBlock(weights.nbytes, "bool", bias.shape),
    )
    copied = weights.tobytes() + (b"" if bias is None else bias.tobytes())
    return some, LayerAttention(some, copied)


def _cut(
    block: ArrayBlock | None, positions: list[int], memory: Memory
) -> NDArray[np.generic] | None:
    """The array's heads at these positions; as it is where all heads share it."""
    if block is None:
        return None
    array = read_array(block, memory)
    shared = array.ndim < 3 or len(array) == 1
    return np.asarray(array if shared else array[positions])


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
