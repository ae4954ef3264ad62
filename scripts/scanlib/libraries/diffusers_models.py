"""Denoisers and autoencoders of diffusers."""

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from scanlib.architecture import SAMPLES, Architecture, Built, prepared
from scanlib.libraries.by_signature import arguments

TEXT = {"encoder_hidden_states": (6, 32)}
IMAGE = {"hidden_states": (4, 8, 8)}
VIDEO = {"hidden_states": (4, 2, 8, 8)}
NOISY = {"sample": (4, 16, 16)}
STEP = {"timestep": ()}
HEADS = {"num_attention_heads": 4, "attention_head_dim": 8}
UNET = {
    "sample_size": 16, "in_channels": 4, "out_channels": 4, "block_out_channels": (32, 64),
    "layers_per_block": 1, "norm_num_groups": 8,
}  # fmt: skip
MODELS: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "UNet2DModel": (
        {**UNET, "attention_head_dim": 8, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
         "up_block_types": ("AttnUpBlock2D", "UpBlock2D")},
        {**NOISY, **STEP},
    ),
    "UNet2DConditionModel": (
        {**UNET, "attention_head_dim": 8, "cross_attention_dim": 32,
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
         "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")},
        {**NOISY, **STEP, **TEXT},
    ),
    "UNet3DConditionModel": (
        {**UNET, "attention_head_dim": 8, "cross_attention_dim": 32,
         "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
         "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D")},
        {"sample": (4, 3, 16, 16), **STEP, **TEXT},
    ),
    "UNetMotionModel": (
        {**UNET, "num_attention_heads": 4, "motion_num_attention_heads": 4,
         "cross_attention_dim": 32, "motion_max_seq_length": 8, "use_motion_mid_block": False,
         "down_block_types": ("CrossAttnDownBlockMotion", "DownBlockMotion"),
         "up_block_types": ("UpBlockMotion", "CrossAttnUpBlockMotion")},
        {"sample": (4, 3, 16, 16), **STEP, **TEXT},
    ),
    "AutoencoderKL": (
        {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 8,
         "block_out_channels": (32, 32), "down_block_types": ("DownEncoderBlock2D",) * 2,
         "up_block_types": ("UpDecoderBlock2D",) * 2},
        {"sample": (3, 16, 16)},
    ),
    "Transformer2DModel": (
        {**HEADS, "in_channels": 32, "norm_num_groups": 8, "cross_attention_dim": 32},
        {"hidden_states": (32, 4, 4), **TEXT},
    ),
    "DiTTransformer2DModel": (
        {**HEADS, "in_channels": 4, "num_layers": 2, "norm_num_groups": 8, "sample_size": 8,
         "num_embeds_ada_norm": 10, "norm_type": "ada_norm_zero"},
        {**IMAGE, **STEP, "class_labels": ()},
    ),
    "PixArtTransformer2DModel": (
        {**HEADS, "sample_size": 8, "num_layers": 2, "in_channels": 4, "out_channels": 8,
         "cross_attention_dim": 32, "caption_channels": 32, "use_additional_conditions": False},
        {**IMAGE, **STEP, **TEXT},
    ),
    "SD3Transformer2DModel": (
        {**HEADS, "sample_size": 8, "patch_size": 2, "in_channels": 4, "num_layers": 2,
         "joint_attention_dim": 32, "caption_projection_dim": 32, "pooled_projection_dim": 64,
         "out_channels": 4, "pos_embed_max_size": 16},
        {**IMAGE, **STEP, **TEXT, "pooled_projections": (64,)},
    ),
    "AuraFlowTransformer2DModel": (
        {**HEADS, "sample_size": 8, "patch_size": 2, "in_channels": 4, "num_mmdit_layers": 1,
         "num_single_dit_layers": 1, "joint_attention_dim": 32, "caption_projection_dim": 32,
         "out_channels": 4, "pos_embed_max_size": 64},
        {**IMAGE, **STEP, **TEXT},
    ),
    "PriorTransformer": (
        {**HEADS, "num_layers": 2, "embedding_dim": 16, "num_embeddings": 7},
        {"hidden_states": (16,), **STEP, "proj_embedding": (16,),
         "encoder_hidden_states": (7, 16)},
    ),
    "CogVideoXTransformer3DModel": (
        {"num_attention_heads": 4, "attention_head_dim": 8, "in_channels": 4, "out_channels": 4,
         "time_embed_dim": 8, "text_embed_dim": 32, "num_layers": 2, "sample_width": 8,
         "sample_height": 8, "sample_frames": 5, "patch_size": 2, "max_text_seq_length": 6},
        {"hidden_states": (2, 4, 8, 8), **STEP, **TEXT},
    ),
    "LatteTransformer3DModel": (
        {**HEADS, "sample_size": 8, "num_layers": 1, "patch_size": 2, "in_channels": 4,
         "out_channels": 8, "caption_channels": 32, "cross_attention_dim": 32,
         "norm_type": "ada_norm_single", "video_length": 2, "norm_elementwise_affine": False},
        {**VIDEO, **STEP, **TEXT},
    ),
    "MochiTransformer3DModel": (
        {**HEADS, "patch_size": 2, "num_layers": 2, "pooled_projection_dim": 16,
         "in_channels": 4, "qk_norm": "rms_norm", "text_embed_dim": 32, "time_embed_dim": 4,
         "max_sequence_length": 6},
        {**VIDEO, **STEP, **TEXT, "encoder_attention_mask": (-6,)},
    ),
    "LTXVideoTransformer3DModel": (
        {**HEADS, "in_channels": 4, "out_channels": 4, "cross_attention_dim": 32, "num_layers": 2,
         "caption_channels": 32, "qk_norm": "rms_norm_across_heads"},
        {"hidden_states": (16, 4), **STEP, **TEXT, "encoder_attention_mask": (-6,),
         "num_frames": (-1000, 1), "height": (-1000, 4), "width": (-1000, 4)},
    ),
    "WanTransformer3DModel": (
        {"patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12,
         "in_channels": 4, "out_channels": 4, "text_dim": 32, "freq_dim": 64, "ffn_dim": 32,
         "num_layers": 2, "cross_attn_norm": True, "rope_max_seq_len": 32},
        {**VIDEO, **STEP, **TEXT},
    ),
    "SanaTransformer2DModel": (
        {"patch_size": 1, "in_channels": 4, "out_channels": 4, "num_layers": 1,
         "num_attention_heads": 4, "attention_head_dim": 8, "num_cross_attention_heads": 4,
         "cross_attention_head_dim": 8, "cross_attention_dim": 32, "caption_channels": 32,
         "sample_size": 8},
        {**IMAGE, **STEP, **TEXT},
    ),
    "StableAudioDiTModel": (
        {"sample_size": 4, "in_channels": 4, "num_layers": 2, "attention_head_dim": 8,
         "num_attention_heads": 4, "num_key_value_attention_heads": 2, "out_channels": 4,
         "cross_attention_dim": 16, "time_proj_dim": 8, "global_states_input_dim": 8,
         "cross_attention_input_dim": 32},
        {"hidden_states": (4, 8), **STEP, **TEXT, "global_hidden_states": (1, 8)},
    ),
    "CogView3PlusTransformer2DModel": (
        {**HEADS, "patch_size": 2, "in_channels": 4, "num_layers": 2, "out_channels": 4,
         "text_embed_dim": 32, "time_embed_dim": 8, "condition_dim": 2, "pos_embed_max_size": 8,
         "sample_size": 8},
        {**IMAGE, **STEP, **TEXT, "original_size": (2,), "target_size": (2,),
         "crop_coords": (2,)},
    ),
}  # fmt: skip
"""Settings, and the shape of each input of one sample; (-1000, n) is the number n itself, and a
negative length a mask of ones."""


def architectures() -> Iterator[Architecture]:
    """Yields one architecture for each class."""
    library: Any = importlib.import_module("diffusers")
    for name, (settings, inputs) in MODELS.items():
        yield Architecture(f"diffusers/{name}", partial(_built, library, name, settings, inputs))


def _built(
    library: Any, name: str, settings: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> Built:
    torch.manual_seed(0)
    kind = getattr(library, name)
    model = kind(**arguments(kind, settings))
    return prepared(model, {name: _input(name, shape) for name, shape in shapes.items()})


def _input(name: str, shape: tuple[int, ...]) -> Any:
    if shape[:1] == (-1000,):
        return shape[1]
    if shape[:1] < (0,) and shape:
        return torch.ones(SAMPLES, -shape[0], dtype=torch.long)
    return torch.randn(SAMPLES, *shape) if shape else torch.tensor([3, 5, 2])
