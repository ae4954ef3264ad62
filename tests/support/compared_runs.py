"""Made-up runs whose attention wanders from capture to capture, to be compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from support.maps import Weights, write_run

HEADS, LENGTH = 6, 24
STEMS = ("decoder_layer0_self_attn", "decoder_layer1_self_attn")
STEPS = range(0, 1200, 100)
TOKENS = {"decoder": [f"word{place}" for place in range(LENGTH)]}


def softmax(logits: Any) -> Weights:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights = weights * np.tri(logits.shape[-2], logits.shape[-1])
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def wandering(seed: int, sharpness: float = 1.0, kind: int = 0, length: int = LENGTH) -> Any:
    """Returns the weights by step and layer: each head has a pattern, and wobbles around it."""
    patterns = np.random.default_rng(kind).normal(size=(len(STEMS), HEADS, length, length)) * 2
    random = np.random.default_rng(1000 + seed)
    return {
        step: {
            stem: softmax(sharpness * (patterns[layer] + 0.5 * random.normal(size=(HEADS, 1, 1))
                                       + 0.5 * random.normal(size=patterns[layer].shape)))
            for layer, stem in enumerate(STEMS)
        }
        for step in STEPS
    }  # fmt: skip


def write_wandering(
    folder: Path,
    seed: int,
    sharpness: float = 1.0,
    tokens: Mapping[str, Sequence[str]] | None = TOKENS,
    **more: Any,
) -> Path:
    """Writes such a run; `more` is for `wandering`'s kind and length, and `write_run`."""
    shape = {name: more.pop(name) for name in ("kind", "length") if name in more}
    return write_run(folder, wandering(seed, sharpness, **shape), tokens=tokens, **more)
