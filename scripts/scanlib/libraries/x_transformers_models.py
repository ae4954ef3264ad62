"""The flags of x-transformers, one at a time, and its wrappers."""

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from scanlib.architecture import SAMPLES, Architecture, Built, prepared

WORDS, LENGTH, SIZES = 64, 16, {"dim": 32, "depth": 2, "heads": 4, "attn_dim_head": 8}
FLAGS: dict[str, dict[str, Any]] = {
    "plain": {}, "alibi": {"alibi_pos_bias": True}, "relative bias": {"rel_pos_bias": True},
    "dynamic bias": {"dynamic_pos_bias": True}, "rotary": {"rotary_pos_emb": True},
    "xpos": {"rotary_xpos": True}, "polar": {"polar_pos_emb": True},
    "residual attention": {"residual_attn": True}, "macaron": {"macaron": True},
    "sandwich": {"sandwich_coef": 1}, "tied": {"weight_tie_layers": True},
    "shifted": {"shift_tokens": 1}, "value residual": {"add_value_residual": True},
    "unet": {"unet_skips": True}, "hyper connections": {"num_residual_streams": 2},
    "integrated": {"integrate_layers": True}, "gated residual": {"gate_residual": True},
    "reinjected": {"reinject_input": True}, "order": {"layers_execute_order": (0, 1, 2, 3, 0, 1)},
}  # fmt: skip
OF_ATTENTION: dict[str, Any] = {
    "flash": True, "pre_talking_heads": True, "post_talking_heads": True,
    "pre_scale_post_talking_heads": True, "head_scale": True, "sparse_topk": 4,
    "num_mem_kv": 3, "on_attn": True, "gate_values": True, "swiglu_values": True,
    "qk_norm": True, "qk_rmsnorm": True, "l2_distance": True, "sigmoid": True, "hard": True,
    "gumbel_softmax": True, "selective": True, "cog_signed": True, "one_kv_head": True,
    "kv_heads": 2, "add_zero_kv": True, "head_learned_sink": True, "value_dim_head": 4,
    "data_dependent_alibi": True, "use_rel_proj_pos_bias": True, "use_cope": True,
    "softclamp_logits": True, "laser": True, "max_attend_past": 4, "inverted_attention": True,
    "output_gate": True, "orthog_projected_values": True, "value_rmsnorm": True,
}  # fmt: skip
FLAGS |= {name: {f"attn_{name}": value} for name, value in OF_ATTENTION.items()}


def architectures() -> Iterator[Architecture]:
    """Yields a decoder for each flag, encoders for some, and the other wrappers."""
    library: Any = importlib.import_module("x_transformers")
    for name, options in FLAGS.items():
        yield Architecture(f"x-transformers/{name}", partial(_text, library, "Decoder", options))
        if name in ENCODED:
            encoder = partial(_text, library, "Encoder", options)
            yield Architecture(f"x-transformers/{name}, encoder", encoder)
    for name, build in WRAPPERS.items():
        yield Architecture(f"x-transformers/{name}", partial(build, library))


ENCODED = ("plain", "flash", "relative bias", "num_mem_kv", "sparse_topk", "residual attention")


def _text(library: Any, kind: str, options: dict[str, Any]) -> Built:
    torch.manual_seed(0)
    layers = getattr(library, kind)(**SIZES, **options)
    model = library.TransformerWrapper(num_tokens=WORDS, max_seq_len=LENGTH, attn_layers=layers)
    return prepared(model, torch.randint(0, WORDS, (SAMPLES, LENGTH)))


def _memory(library: Any) -> Built:
    torch.manual_seed(0)
    model = library.TransformerWrapper(
        num_tokens=WORDS, max_seq_len=LENGTH, num_memory_tokens=4,
        attn_layers=library.Decoder(**SIZES),
    )  # fmt: skip
    return prepared(model, torch.randint(0, WORDS, (SAMPLES, LENGTH)))


def _prefix(library: Any) -> Built:
    torch.manual_seed(0)
    model = library.TransformerWrapper(
        num_tokens=WORDS, max_seq_len=LENGTH, attn_layers=library.PrefixDecoder(**SIZES)
    )
    return prepared(model, torch.randint(0, WORDS, (SAMPLES, LENGTH)))


def _translator(library: Any) -> Built:
    torch.manual_seed(0)
    sides = {
        f"{side}_{name}": value
        for side in ("enc", "dec")
        for name, value in {
            "num_tokens": WORDS, "depth": 2, "heads": 4, "max_seq_len": LENGTH, "attn_dim_head": 8,
        }.items()
    }  # fmt: skip
    model = library.XTransformer(dim=32, tie_token_emb=True, **sides)
    texts = [torch.randint(1, WORDS, (SAMPLES, length)) for length in (LENGTH, 9)]
    return prepared(model, tuple(texts))


def _image(library: Any) -> Built:
    torch.manual_seed(0)
    model = library.ViTransformerWrapper(
        image_size=32, patch_size=8, num_classes=5, attn_layers=library.Encoder(**SIZES)
    )
    return prepared(model, torch.randn(SAMPLES, 3, 32, 32))


def _continuous(library: Any) -> Built:
    torch.manual_seed(0)
    model = library.ContinuousTransformerWrapper(
        dim_in=6, dim_out=3, max_seq_len=LENGTH, attn_layers=library.Encoder(**SIZES)
    )
    return prepared(model, torch.randn(SAMPLES, LENGTH, 6))


def _crossing(library: Any) -> Built:
    torch.manual_seed(0)
    model = library.CrossAttender(**SIZES)
    inputs = {"x": torch.randn(SAMPLES, 9, 32), "context": torch.randn(SAMPLES, LENGTH, 32)}
    return prepared(model, inputs)


WRAPPERS = {
    "memory tokens": _memory, "prefix": _prefix, "encoder and decoder": _translator,
    "image": _image, "continuous": _continuous, "cross": _crossing,
}  # fmt: skip
