"""Small untrained models of Hugging Face's transformers, and their own eager attention."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attnmon.capture import module_names

SIZE = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
BART = {
    "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "max_position_embeddings": 64,
}  # fmt: skip
T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
SWIN = {
    "image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
    "window_size": 4,
}  # fmt: skip
GROUPED = {"num_key_value_heads": 2}
WINDOW = {**GROUPED, "head_dim": 8, "sliding_window": 4}


def tokens(length: int, padded: int) -> tuple[Tensor, Tensor]:
    """Returns ids and mask of two texts.

    padded: tokens of padding at the end of the second text; at its beginning if negative.
    """
    mask = torch.ones(2, length, dtype=torch.long)
    mask[1, slice(length - padded, None) if padded > 0 else slice(0, -padded)] = 0
    return torch.randint(3, 99, (2, length)), mask


def text(padded: int = 3) -> dict[str, Tensor]:
    ids, mask = tokens(9, padded)
    return {"input_ids": ids, "attention_mask": mask}


def texts() -> dict[str, Tensor]:
    return {**text(), "decoder_input_ids": tokens(7, 0)[0]}


def image() -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(2, 3, 32, 32)}


@dataclass(frozen=True)
class Case:
    """A model of transformers: its classes, settings and inputs, and what is expected of it."""

    config: str
    model: str
    settings: dict[str, Any]
    inputs: Callable[[], dict[str, Tensor]] = text
    roles: dict[str, int] = field(default_factory=lambda: {"decoder_self": 2})

    def offers(self, ability: str) -> bool:
        """Whether the model's class says so of itself; without transformers, none does."""
        try:
            hf = importlib.import_module("transformers")
        except ImportError:
            return False
        return bool(getattr(getattr(hf, self.model), ability))

    @property
    def implementations(self) -> tuple[str, ...]:
        return ("sdpa", "eager") if self.offers("_supports_sdpa") else ("eager",)

    @property
    def checkpoints(self) -> bool:
        return self.offers("supports_gradient_checkpointing")

    def build(self, implementation: str) -> nn.Module:
        hf = pytest.importorskip("transformers")
        torch.manual_seed(0)
        config = getattr(hf, self.config)(**self.settings)
        model = getattr(hf, self.model)._from_config(config, attn_implementation=implementation)
        assert isinstance(model, nn.Module)
        return model


ENCODER = {"encoder_self": 2}
BOTH = {"encoder_self": 2, "decoder_self": 2, "decoder_cross": 2}
CASES = {
    "gpt2": Case("GPT2Config", "GPT2LMHeadModel", GPT),
    "gpt2 padded left": Case("GPT2Config", "GPT2LMHeadModel", GPT, lambda: text(-3)),
    "gptj": Case("GPTJConfig", "GPTJForCausalLM", {**GPT, "rotary_dim": 4}),
    "llama": Case("LlamaConfig", "LlamaForCausalLM", SIZE | GROUPED),
    "gemma2": Case(
        "Gemma2Config", "Gemma2ForCausalLM", SIZE | WINDOW | {"attn_logit_softcapping": 5.0}
    ),
    "gpt-oss": Case(
        "GptOssConfig", "GptOssForCausalLM", SIZE | WINDOW | {"num_local_experts": 4}
    ),
    "bert": Case("BertConfig", "BertModel", SIZE, roles=ENCODER),
    "albert": Case("AlbertConfig", "AlbertModel", SIZE | {"embedding_size": 16}, roles=ENCODER),
    "deberta-v2": Case(
        "DebertaV2Config", "DebertaV2Model",
        SIZE | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
        roles=ENCODER,
    ),
    "t5": Case("T5Config", "T5ForConditionalGeneration", T5, texts, roles=BOTH),
    "bart": Case("BartConfig", "BartForConditionalGeneration", BART, texts, roles=BOTH),
    "vit": Case("ViTConfig", "ViTModel", VIT, image, roles=ENCODER),
    "swin": Case("SwinConfig", "SwinModel", SWIN, image, roles={"encoder_self": 4}),
}  # fmt: skip


def returned_weights(model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, list[Tensor]]:
    """Returns the weights that eager attention returns: by module, in the order of its calls."""
    names, returned = module_names(model), dict[str, list[Tensor]]()

    def note(module: nn.Module, _: object, result: object) -> None:
        several = result if isinstance(result, tuple) else ()
        weights = [item for item in several if isinstance(item, Tensor) and item.dim() == 4]
        if weights:  # T5 returns its position bias before them
            returned.setdefault(names[id(module)], []).append(weights[-1])

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    with torch.no_grad():
        model(**inputs, output_attentions=True)
    for hook in hooks:
        hook.remove()
    return returned
