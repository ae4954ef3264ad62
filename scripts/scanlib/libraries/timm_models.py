"""The families of timm that attend, each in its smallest variant."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from scanlib.architecture import (
    MOST_PARAMETERS,
    SAMPLES,
    TOO_LARGE,
    Architecture,
    Built,
    CannotBuild,
    prepared,
    reason_of,
)
from scanlib.libraries.without_torchvision import imported

FAMILIES = (
    "beit", "byoanet", "byobnet", "cait", "coat", "convit", "cpubone", "crossvit", "csatv2",
    "davit", "deepseek_vit", "deit", "edgenext", "efficientformer", "efficientformer_v2",
    "efficientvit_mit", "efficientvit_msra", "eva", "fastvit", "focalnet", "gcvit", "gemma4_vit",
    "hiera", "hieradet_sam2", "iformer", "levit", "lowformer", "maxxvit", "metaformer",
    "mobilenetv3", "mobilenetv5", "mobilevit", "mvitv2", "naflexvit", "nest", "nextvit", "pit",
    "pvt_v2", "qwen3_vit", "rdnet", "resnest", "rexnet", "shvit", "sknet", "swiftformer",
    "swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr", "tiny_vit", "tnt",
    "twins", "visformer", "vision_transformer", "vision_transformer_hybrid",
    "vision_transformer_relpos", "vision_transformer_sam", "vitamin", "volo", "xcit",
)  # fmt: skip
SMALL = ("test", "atto", "femto", "pico", "nano", "xxs", "xxtiny", "xx_small", "tiny", "_t_", "xs",
         "x_small", "_s0", "_b0", "_m0", "_n_", "small", "_s_", "_0")  # fmt: skip
"""Parts of a name that say that it is small, the smallest first."""
VARIANTS: tuple[dict[str, Any], ...] = (
    {"img_size": 64, "depth": 2}, {"img_size": 64}, {"depth": 2}, {},
)  # fmt: skip


def architectures() -> Iterator[Architecture]:
    """Yields one architecture for each family; two where attention is fused if so set."""
    timm = imported("timm")
    for family in FAMILIES:
        names = timm.list_models(module=family)
        if names:
            name = min(names, key=_size)
            yield Architecture(f"timm/{family}", partial(_built, timm, name, True))
    for family in ("vision_transformer", "swin_transformer", "eva", "mvitv2", "hiera"):
        name = min(timm.list_models(module=family), key=_size)
        yield Architecture(f"timm/{family}, not fused", partial(_built, timm, name, False))


def _size(name: str) -> tuple[int, int]:
    padded = f"_{name}_"
    return next((at for at, part in enumerate(SMALL) if part in padded), len(SMALL)), len(name)


def _built(timm: Any, name: str, fused: bool) -> Built:
    timm.layers.set_fused_attn(fused)
    failures: list[str] = []
    for options in VARIANTS:
        try:
            torch.manual_seed(0)
            model = timm.create_model(name, pretrained=False, num_classes=5, **options)
            if sum(parameter.numel() for parameter in model.parameters()) > MOST_PARAMETERS:
                raise CannotBuild(f"{options or 'its usual size'}: {TOO_LARGE}")
            side = options.get("img_size", model.default_cfg["input_size"][-1])
            return prepared(model, torch.randn(SAMPLES, 3, side, side))
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}"[:200])
    raise CannotBuild(reason_of(failures))
