"""Vision transformers of timm, fused or not, against the weights that their dropout is given."""

from collections.abc import Callable

import pytest
import torch
from support.tapping import tapped_calls
from support.timm_import import import_timm
from torch import Tensor, nn

from attnmon.capture import discover
from attnmon.capture.calls.verification import attention_weights, output_error

timm = import_timm()


def vit() -> nn.Module:
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4
    )


def swin() -> nn.Module:
    return timm.models.SwinTransformer(
        img_size=32, patch_size=2, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4
    )


def build(model: Callable[[], nn.Module], fused: bool) -> nn.Module:
    timm.layers.set_fused_attn(fused, experimental=fused)  # of Swin it is
    torch.manual_seed(0)
    return model().eval()


def own_weights(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What each attention's `attn_drop` is given, by the attention's name."""
    weights: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if name.endswith(".attn_drop"):
            attention = name.removesuffix(".attn_drop")
            module.register_forward_hook(
                lambda _, given, __, attention=attention: weights.__setitem__(attention, given[0])
            )
    model(image)
    return weights


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("model", [vit, swin])
@pytest.mark.parametrize("fused", [False, True])
def test_the_maps_are_the_models_own(model: Callable[[], nn.Module], fused: bool) -> None:
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = own_weights(build(model, fused=False), image)
        watched = build(model, fused)
        calls = tapped_calls(watched, lambda: watched(image))
    assert [call.name for call in calls] == list(expected)
    sources = {"scaled_dot_product_attention"} if fused else {"softmax"}
    assert {call.source for call in calls} == sources
    for call in calls:
        weights = attention_weights(call)
        torch.testing.assert_close(weights, expected[call.name], rtol=0, atol=1e-6)
        assert output_error(call) < 1e-6
    assert discover(watched, image, None).batch_dim == 0
