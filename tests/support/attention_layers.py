"""Layers of attention in memory, as a training process sends them, and their weights by hand."""

from typing import Any

import numpy as np

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock

Array = np.ndarray[Any, Any]


def sent_layer(
    layer: int = 0, *, causal: bool = False, offset: int = 0, **arrays: Array
) -> tuple[Attention, bytes]:
    """Returns the message of a decoder's self-attention, and the memory it refers to."""
    memory = b""
    blocks: dict[str, Any] = {}
    for name, array in arrays.items():
        blocks[name] = ArrayBlock(offset + len(memory), str(array.dtype), array.shape)
        memory += array.tobytes()
    heads = tuple(range(len(arrays.get("weights", arrays.get("query", ())))))
    name = f"decoder.{layer}"
    message = Attention(
        name, "decoder", layer, "self_attention", "test", heads, **blocks, causal=causal
    )
    return message, memory


def random_query_and_key(heads: int, queries: int, keys: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((heads, queries, 8), np.float32)
    return {"query": query, "key": rng.standard_normal((heads, keys, 8), np.float32)}


def softmax(query: Array, key: Array, allowed: Array | None = None, causal: bool = False) -> Array:
    """Returns the weights in float64; a query that may attend to nothing has none."""
    logits = query.astype(np.float64) @ key.astype(np.float64).transpose(0, 2, 1)
    if causal:
        logits = np.where(np.tri(*logits.shape[1:], dtype=bool), logits, -np.inf)
    if allowed is not None:
        logits = np.where(allowed, logits, -np.inf)
    largest = logits.max(-1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(largest), largest, 0))
    total = weights.sum(-1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1))
