"""What a mask of each query says, found by kernels in the interpreter, and by the renderer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import mask_facts
from attnmon_renderer.analysis.masks import Mask

pytest.importorskip("triton", reason="Triton has no wheel for this machine")


def causal(queries: int, earlier: int = 0) -> Tensor:
    return torch.ones(queries, queries + earlier).tril(earlier).bool()


def padded_left(length: int, padding: int) -> Tensor:
    """As it is built for a softmax that must not be empty: rows of padding see all."""
    mask = causal(length)
    mask[:, :padding] = False
    mask[:padding] = True
    return mask


def padded_right(length: int, real: int) -> Tensor:
    return causal(length) & (torch.arange(length) < real)


MASKS = {
    "causal": (causal(37), 0),
    "with a prefix": (causal(20, 13), 13),
    "padded left": (padded_left(37, 5), 0),
    "padded right": (padded_right(37, 30), 0),
    "a head each": (torch.stack([causal(37), padded_right(37, 12)]), 0),
    "added": (torch.where(padded_right(37, 30), 0.0, -1e4), 0),
    "added minus infinity": (torch.where(padded_left(37, 5), 0.0, float("-inf")).bfloat16(), 0),
    "random": (torch.rand(2, 37, 37, generator=torch.Generator().manual_seed(0)) < 0.05, 0),
    "nothing": (torch.zeros(20, 20).bool(), 0),
    "everything": (torch.ones(20, 20).bool(), 0),
}


@pytest.mark.parametrize("name", MASKS)
def test_padding_and_ends_are_those_of_the_mask(name: str) -> None:
    bias, earlier = MASKS[name]
    queries, keys = bias.shape[-2:]
    empty = torch.empty(2, queries, 16), torch.empty(2, keys, 16)
    found = mask_facts(LayerTensors(*empty, 1.0, bias=bias, earlier=earlier))
    allowed = (bias if bias.dtype == torch.bool else bias > -9e3).reshape(-1, queries, keys).any(0)
    sees = allowed.any(1)
    first = torch.where(sees, allowed.int().argmax(1), keys)
    last = torch.where(sees, keys - 1 - allowed.flip(1).int().argmax(1), -1)
    assert torch.equal(found.ends.long(), torch.stack([first, last]))
    raw = bias.view(torch.int16).numpy().view(np.uint16) if bias.dtype == torch.bfloat16 else bias
    expected = Mask(np.asarray(raw), False).padding(queries, keys, earlier)
    assert found.padding.tolist() == ([False] * queries if expected is None else expected.tolist())
