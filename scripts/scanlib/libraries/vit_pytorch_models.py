"""Every vision transformer of vit-pytorch that is a classifier by itself."""

import inspect
import pkgutil
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scanlib.architecture import SAMPLES, Architecture, Built, CannotBuild, prepared
from scanlib.libraries.by_signature import arguments
from scanlib.libraries.without_torchvision import imported

SIDE = 32
SIZES: dict[str, Any] = {
    "image_size": SIDE, "img_size": SIDE, "patch_size": 8, "image_patch_size": 8, "num_classes": 5,
    "dim": 32, "depth": 2, "heads": 4, "mlp_dim": 64, "dim_head": 8, "mlp_mult": 2, "cls_depth": 1,
    "frames": 4, "frame_patch_size": 2, "spatial_depth": 1, "temporal_depth": 1, "seq_len": SIDE,
    "max_tokens_per_depth": (12, 8), "num_hierarchies": 2, "block_repeats": (1, 1),
    "freq_patch_size": 8, "num_residual_streams": 2, "ndim": 2, "input_shape": (SIDE, SIDE),
    "embedding_dim": 32, "num_layers": 2, "num_heads": 4, "mlp_ratio": 2, "max_frames": 4,
    "sm_dim": 32, "lg_dim": 48, "sm_patch_size": 8, "lg_patch_size": 16, "sm_enc_dim_head": 8,
    "lg_enc_dim_head": 8, "lg_enc_depth": 1, "sm_enc_heads": 4, "lg_enc_heads": 4,
    "cross_attn_heads": 4, "cross_attn_dim_head": 8, "highres_patch_size": 16, "num_slots": 4,
    "pre_loop_depth": 1, "post_loop_depth": 1, "num_looped_blocks": 1, "loop_depth": 2,
}  # fmt: skip
STAGES: dict[str, Any] = {
    "crossformer": {"dim": (16, 16, 32, 32), "depth": (1, 1, 1, 1), "num_classes": 5,
                    "global_window_size": (4, 2, 1, 1), "local_window_size": 2},
    "cvt": {"num_classes": 5, "s1_emb_dim": 16, "s2_emb_dim": 32, "s3_emb_dim": 48, "s3_depth": 1},
    "levit": {"image_size": 64, "num_classes": 5, "stages": 2, "dim": (32, 48), "depth": 1,
              "heads": (2, 4), "mlp_mult": 2, "dim_key": 8, "dim_value": 8},
    "max_vit": {"num_classes": 5, "dim": 16, "depth": (1, 1), "dim_head": 8, "window_size": 4},
    "max_vit_with_registers": {"num_classes": 5, "dim": 16, "depth": (1, 1), "dim_head": 8,
                               "window_size": 4, "num_register_tokens": 2},
    "mobile_vit": {"image_size": (64, 64), "dims": [32, 32, 32], "num_classes": 5,
                   "channels": [8, 8, 8, 8, 16, 16, 16, 16, 16, 16, 32]},
    "nest": {"image_size": 32, "patch_size": 4, "dim": 16, "heads": 2, "num_hierarchies": 2,
             "block_repeats": (1, 1), "num_classes": 5, "dim_head": 8},
    "pit": {**SIZES, "depth": (1, 1)},
    "regionvit": {"dim": (16, 16, 32, 32), "depth": (1, 1, 1, 1), "window_size": 2,
                  "num_classes": 5},
    "scalable_vit": {"num_classes": 5, "dim": 16, "heads": (2, 2), "depth": (1, 1),
                     "reduction_factor": (2, 1), "window_size": (4, None)},
    "sep_vit": {"num_classes": 5, "dim": 16, "dim_head": 8, "heads": (2, 2), "depth": (1, 1),
                "window_size": 4},
    "twins_svt": {"num_classes": 5, "s1_emb_dim": 16, "s2_emb_dim": 32, "s3_emb_dim": 32,
                  "s4_emb_dim": 32, "s1_local_patch_size": 4, "s2_local_patch_size": 4,
                  "s3_local_patch_size": 2, "s4_local_patch_size": 1, "s1_global_k": 4,
                  "s2_global_k": 2, "s3_global_k": 1, "s4_global_k": 1, "s3_depth": 1,
                  "s4_depth": 1},
}  # fmt: skip
"""Those in stages, whose sizes go together."""
NO_MODELS = {"accept_video_wrapper", "extractor", "recorder", "dino", "es_vit", "lejepa", "simmim",
             "levjepa_nd", "mae", "mpp", "distill"}  # fmt: skip
"""Modules with wrappers of another model."""


def architectures() -> Iterator[Architecture]:
    """Yields one architecture for each module of the library."""
    package = imported("vit_pytorch")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in NO_MODELS:
            yield Architecture(f"vit-pytorch/{module.name}", partial(_built, module.name))


def _built(name: str) -> Built:
    module = imported(f"vit_pytorch.{name}")
    failure: Exception = CannotBuild("no class of it takes an image")
    values = STAGES.get(name, SIZES)
    for kind in reversed(vars(module).values()):
        if not _is_model(kind) or kind.__module__ != module.__name__:
            continue
        for inputs in _inputs():
            try:
                torch.manual_seed(0)
                return prepared(kind(**arguments(kind, values)), inputs)
            except Exception as error:
                failure = error
    raise failure


def _is_model(kind: Any) -> bool:
    """Whether this is a class of whole models, not of their parts."""
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        return False
    return bool(
        {"num_classes", "image_size", "img_size"} & inspect.signature(kind).parameters.keys()
    )


def _inputs() -> Iterator[Tensor]:
    yield torch.randn(SAMPLES, 3, SIDE, SIDE)
    yield torch.randn(SAMPLES, 3, 2 * SIDE, 2 * SIDE)
    yield torch.randn(SAMPLES, 3, 4, SIDE, SIDE)
    yield torch.randn(SAMPLES, 3, SIDE)
