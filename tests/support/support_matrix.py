"""The models of the support matrix: how to build and call each, and its own attention weights."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from support import hf_models
from support.models import VOCABULARY, batch
from support.timm_import import import_timm

Weights = dict[str, list[Tensor]]
"""Weights [batch, heads, queries, keys] by attention module, one for each of its calls."""

LENGTH, WIDTH, HEADS, PADDED = 9, 32, 4, 3


@dataclass(frozen=True)
class Row:
    """A row of the support matrix."""

    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]
    """Returns inputs of two samples: a tensor, a tuple, or a dict by names."""
    expected: Callable[[nn.Module, Any], Weights]
    """Returns the weights of the model's own eager attention, in evaluation."""
    source: str
    """The function in whose call its attention is seen."""
    skipped: int = 0
    """Queries at the start of the second sample that are padding, whose weights are arbitrary."""
    probe_only: bool = False
    """Whether only a probe can see its attention, since its own forward compiles itself."""
    checkpoints: bool = False
    """Whether it has activation checkpointing of its own."""
    note: str = ""
    """The beginning of the map's note; empty where the map is exact and whole."""


def call_model(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def first_tensor(output: Any) -> Tensor:
    """Returns the first tensor of a model's output, as a rule its logits."""
    return output if isinstance(output, Tensor) else first_tensor(output[0])


# PyTorch's own modules


class TextModel(nn.Module):
    """Embeds texts for a module that takes vectors. Id 0 is padding."""

    def __init__(self, inner: nn.Module, **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.inner = inner
        self.options = options
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, *texts: Tensor) -> Tensor:
        hidden = [self.embedding(text) for text in texts]
        logits: Tensor = self.head(self.inner(*hidden, **self.arguments(*texts)))
        return logits

    def arguments(self, *texts: Tensor) -> dict[str, Any]:
        return self.options


class PaddedEncoder(TextModel):
    def arguments(self, text: Tensor) -> dict[str, Any]:
        return {"src_key_padding_mask": text == 0}


class CausalEncoder(TextModel):
    def arguments(self, text: Tensor) -> dict[str, Any]:
        mask = nn.Transformer.generate_square_subsequent_mask(text.shape[1])
        return {"mask": mask, "is_causal": True}


class PaddedTranslator(TextModel):
    def arguments(self, source: Tensor, target: Tensor) -> dict[str, Any]:
        return {
            "tgt_mask": nn.Transformer.generate_square_subsequent_mask(target.shape[1]),
            "src_key_padding_mask": source == 0,
            "memory_key_padding_mask": source == 0,
        }


class SelfAttention(nn.Module):
    """`nn.MultiheadAttention` by itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1, batch_first=True)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.attention(x, x, x, **self.options)[0]
        return mixed


def encoder(**options: Any) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def decoder() -> nn.TransformerDecoder:
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 64, batch_first=True)
    return nn.TransformerDecoder(layer, 2)


def transformer() -> nn.Transformer:
    return nn.Transformer(WIDTH, HEADS, 2, 2, 64, batch_first=True)


def multihead_attention_weights(model: nn.Module, inputs: Any) -> Weights:
    """Returns the weights that each `nn.MultiheadAttention` returns when asked for them."""
    found: Weights = {}

    def ask(module: nn.Module, args: Any, kwargs: Any, *, name: str) -> None:
        wanted = {**kwargs, "need_weights": True, "average_attn_weights": False}
        found.setdefault(name, []).append(module.forward(*args, **wanted)[1])

    with hooks(model, nn.MultiheadAttention, ask):  # without gradients padding would be cut off
        call_model(model, inputs)
    return detached(found)


# Written by hand


class NanoGPT(nn.Module):
    """A causal language model like nanoGPT's, whose attention is computed in one of four ways.

    All four have the same parameters. `by_hand` passes its weights to a dropout module.
    """

    def __init__(self, way: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(NanoGPTAttention(way) for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, text: Tensor) -> Tensor:
        hidden = self.embedding(text)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        logits: Tensor = self.head(hidden)
        return logits


class NanoGPTAttention(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.n_head = HEADS
        self.c_attn = nn.Linear(WIDTH, 3 * WIDTH)
        self.attn_dropout = nn.Dropout(0.1)
        self.mix = getattr(self, way)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.n_head, -1)).transpose(1, 2)
            for part in self.c_attn(x).split(WIDTH, -1)
        )
        mixed: Tensor = self.mix(query, key, value).transpose(1, 2).flatten(2)
        return mixed

    def by_hand(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        att = (query @ key.transpose(-2, -1)) * (1.0 / math.sqrt(key.size(-1)))
        return self.attn_dropout(self.weights(att)) @ value

    def einsum(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        att = torch.einsum("bhid,bhjd->bhij", query, key) / math.sqrt(key.size(-1))
        return torch.einsum("bhij,bhjd->bhid", self.attn_dropout(self.weights(att)), value)

    def sdpa(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        dropout = 0.1 if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)

    def flex(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        length = query.shape[-2]
        mask = create_block_mask(earlier, None, None, length, length, device="cpu")
        mixed: Tensor = flex_attention(query, key, value, block_mask=mask)
        return mixed

    def weights(self, logits: Tensor) -> Tensor:
        length = logits.shape[-1]
        mask = torch.tril(torch.ones(length, length))
        return F.softmax(logits.masked_fill(mask == 0, float("-inf")), dim=-1)


def frozen_flex_model() -> nn.Module:
    """Returns a model with frozen attention, since flex_attention has no backward on a CPU."""
    model = NanoGPT("flex").requires_grad_(False)
    model.head.requires_grad_(True)
    return model


def earlier(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return query >= key


def nano_gpt_weights(model: nn.Module, inputs: Any) -> Weights:
    by_hand = NanoGPT("by_hand").eval()
    by_hand.load_state_dict(model.state_dict())
    return weights_into_dropout(by_hand, inputs, ".attn_dropout")


def weights_into_dropout(model: nn.Module, inputs: Any, suffix: str) -> Weights:
    """Returns what each attention passes to its own dropout."""
    found: Weights = {}

    def note(module: nn.Module, args: Any, kwargs: Any, *, name: str) -> None:
        if name.endswith(suffix):
            found.setdefault(name.removesuffix(suffix), []).append(args[0])

    with hooks(model, nn.Dropout, note):
        call_model(model, inputs)
    return detached(found)


def detached(found: Weights) -> Weights:
    return {name: [weights.detach() for weights in calls] for name, calls in found.items()}


@contextmanager
def hooks(model: nn.Module, kind: type[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    """Registers the hook before each module of this kind; it gets the module's `name`."""
    handles = [
        module.register_forward_pre_hook(partial(hook, name=name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, kind)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# timm


def timm_model(kind: str, fused: bool) -> nn.Module:
    timm = import_timm()
    timm.layers.set_fused_attn(fused, experimental=fused)  # of Swin it is
    size = {"img_size": 32, "attn_drop_rate": 0.1}
    model: nn.Module
    if kind == "ViT":
        model = timm.models.VisionTransformer(
            **size, patch_size=8, embed_dim=32, depth=2, num_heads=4
        )
    else:
        model = timm.models.SwinTransformer(
            **size, patch_size=2, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4
        )
    return model


def timm_weights(kind: str, model: nn.Module, inputs: Any) -> Weights:
    unfused = timm_model(kind, fused=False).eval()
    unfused.load_state_dict(model.state_dict())
    return weights_into_dropout(unfused, inputs, ".attn_drop")


# transformers


def transformers_model(name: str, implementation: str) -> nn.Module:
    return hf_models.CASES[name].build(implementation)


def transformers_weights(name: str, model: nn.Module, inputs: Any) -> Weights:
    eager = hf_models.CASES[name].build("eager").eval()
    eager.load_state_dict(model.state_dict())
    found = hf_models.returned_weights(eager, inputs)
    attentions = {name for name in found if not any(n.startswith(f"{name}.") for n in found)}
    return {name: found[name] for name in attentions}


# All of them


def padded_texts() -> Tensor:
    """Returns two texts, the second with padding at its end."""
    text = batch(2, LENGTH).clamp(min=1)
    text[1, LENGTH - PADDED :] = 0
    return text


def image() -> Tensor:
    return torch.randn(2, 3, 32, 32)


SDPA, SOFTMAX = "scaled_dot_product_attention", "softmax"
_WINDOWS = "only the first of"

ROWS = {
    "nn.MultiheadAttention": Row(
        SelfAttention, lambda: torch.randn(2, LENGTH, WIDTH), multihead_attention_weights, SOFTMAX
    ),
    "nn.MultiheadAttention, need_weights=False": Row(
        partial(SelfAttention, need_weights=False), lambda: torch.randn(2, LENGTH, WIDTH),
        multihead_attention_weights, SDPA,
    ),
    "nn.TransformerEncoder, padded": Row(
        lambda: PaddedEncoder(encoder()), padded_texts, multihead_attention_weights, SDPA
    ),
    "nn.TransformerEncoder, causal, norm_first": Row(
        lambda: CausalEncoder(encoder(norm_first=True)), lambda: batch(2, LENGTH),
        multihead_attention_weights, SDPA,
    ),
    "nn.TransformerDecoder": Row(
        lambda: TextModel(decoder()), lambda: (batch(2, 7), batch(2, LENGTH)),
        multihead_attention_weights, SDPA,
    ),
    "nn.Transformer": Row(
        lambda: PaddedTranslator(transformer()), lambda: (padded_texts(), batch(2, 7)),
        multihead_attention_weights, SDPA,
    ),
    "by hand": Row(
        partial(NanoGPT, "by_hand"), lambda: batch(2, LENGTH), nano_gpt_weights, SOFTMAX
    ),
    "einsum": Row(
        partial(NanoGPT, "einsum"), lambda: batch(2, LENGTH), nano_gpt_weights, SOFTMAX
    ),
    "sdpa": Row(
        partial(NanoGPT, "sdpa"), lambda: batch(2, LENGTH), nano_gpt_weights, SDPA
    ),
    "flex_attention": Row(
        frozen_flex_model, lambda: batch(2, LENGTH), nano_gpt_weights, "flex_attention",
        probe_only=True,
    ),
}  # fmt: skip
ROWS |= {
    f"timm {kind}, {'fused' if fused else 'not fused'}": Row(
        partial(timm_model, kind, fused),
        image,
        partial(timm_weights, kind),
        SDPA if fused else SOFTMAX,
        note=_WINDOWS if kind == "Swin" else "",
    )
    for kind in ("ViT", "Swin")
    for fused in (True, False)
}
ROWS |= {
    f"transformers {name}, {implementation}": Row(
        partial(transformers_model, name, implementation),
        case.inputs,
        partial(transformers_weights, name),
        SDPA if implementation == "sdpa" else SOFTMAX,
        skipped=PADDED if name.endswith("left") else 0,
        checkpoints=case.checkpoints,
        note=_WINDOWS if name == "swin" else "",
    )
    for name, case in hf_models.CASES.items()
    for implementation in case.implementations
}
