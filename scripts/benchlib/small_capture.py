"""A capture of six small layers, as a training of a small encoder-decoder announces it."""

from typing import Any

import numpy as np

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention, AttentionType, Stack
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts

HEADS, POSITIONS, WIDTH = 4, 48, 16
PICTURES = ("heatmap", "multi_head", "layer_comparison")
"""Fifteen pictures a capture."""
_LAYERS: tuple[tuple[Stack, int, AttentionType], ...] = (
    ("encoder", 0, "self_attention"),
    ("encoder", 1, "self_attention"),
    ("decoder", 0, "self_attention"),
    ("decoder", 0, "cross_attention"),
    ("decoder", 1, "self_attention"),
    ("decoder", 1, "cross_attention"),
)
_SHAPE = (HEADS, POSITIONS, WIDTH)
_BLOCK_BYTES = 4 * HEADS * POSITIONS * WIDTH


def ring() -> memoryview:
    """Return memory with the queries and keys of all layers, of random numbers."""
    numbers = np.random.default_rng(0).normal(size=(2 * len(_LAYERS), *_SHAPE))
    return memoryview(numbers.astype("<f4").tobytes())


def capture(step: int) -> Capture:
    """Return the message of a capture at this step."""
    return Capture(
        sequence=step,
        step=step,
        by_epoch=False,
        epoch=None,
        loss=1.0,
        lr=1e-3,
        timestamp=1.7e9 + step,
        sample=0,
        slots=(Slots(0, 16),),
        attentions=tuple(_attention(index) for index in range(len(_LAYERS))),
        accounts=Accounts(captured=step, steps=step),
    )


def setup(save_dir: str, **options: Any) -> Setup:
    """Return the description of a run with these options of drawing."""
    drawn = RenderOptions(**{"pictures": (), "heads": "all", **options})
    return Setup(save_dir, drawn, ring_bytes=1 << 20, slot_bytes=1 << 16, trainer_pid=1)


def _attention(index: int) -> Attention:
    stack, layer, type_ = _LAYERS[index]
    offset = 2 * index * _BLOCK_BYTES
    return Attention(
        name=f"transformer.{stack}.layers.{layer}.{type_}",
        stack=stack,
        layer=layer,
        type=type_,
        source="scaled_dot_product_attention",
        heads=tuple(range(HEADS)),
        query=ArrayBlock(offset, "float32", _SHAPE),
        key=ArrayBlock(offset + _BLOCK_BYTES, "float32", _SHAPE),
        scale=WIDTH**-0.5,
        causal=stack == "decoder" and type_ == "self_attention",
    )
