"""What a mask of each query says, found by kernels in the interpreter, and by the renderer."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import find_mask_bound, mask_facts
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
    "added -100": (torch.where(padded_right(37, 30), 0.0, -100.0), 0),
    "random": (torch.rand(2, 37, 37, generator=torch.Generator().manual_seed(0)) < 0.05, 0),
    "nothing": (torch.zeros(20, 20).bool(), 0),
    "everything": (torch.ones(20, 20).bool(), 0),
}


@pytest.mark.parametrize("name", MASKS)
def test_padding_and_ends_are_those_of_the_mask(name: str) -> None:
    bias, earlier = MASKS[name]
    queries, keys = bias.shape[-2:]
    empty = torch.empty(2, queries, 16), torch.empty(2, keys, 16)
    layer = LayerTensors(*empty, 1.0, bias=bias, earlier=earlier)
    found = mask_facts(replace(layer, bound=find_mask_bound(layer)))
    allowed = (bias if bias.dtype == torch.bool else bias == 0).reshape(-1, queries, keys).any(0)
    sees = allowed.any(1)
    first = torch.where(sees, allowed.int().argmax(1), keys)
    last = torch.where(sees, keys - 1 - allowed.flip(1).int().argmax(1), -1)
    assert torch.equal(found.ends.long(), torch.stack([first, last]))
    raw = bias.view(torch.int16).numpy().view(np.uint16) if bias.dtype == torch.bfloat16 else bias
    expected = Mask(np.asarray(raw), False).padding(queries, keys, earlier)
    assert found.padding.tolist() == ([False] * queries if expected is None else expected.tolist())


CLOSED = causal(37) & (torch.arange(37) > 3)
WEAK = {
    "-100": (torch.where(CLOSED, 0.0, -100.0), -50.0),
    "-50, of one head": (torch.stack([torch.where(CLOSED, 0.0, -50.0), torch.zeros(37, 37)]), -25),
    "-100, of keys": (torch.where(torch.arange(37) < 30, 0.0, -100.0)[None], -50),
    "-100 of bfloat16": (torch.where(CLOSED, 0.0, -100.0).bfloat16(), -50),
    "-49": (torch.where(CLOSED, 0.0, -49.0), -9e3),
    "-100 beside other numbers": (torch.where(CLOSED, -torch.arange(37.0), -100.0), -9e3),
    "-100 beside a NaN": (
        torch.where(CLOSED, 0.0, -100.0).index_fill(1, torch.tensor(9), math.nan),
        -9e3,
    ),
    "-100 beside a number above 0": (torch.where(CLOSED, 1.0, -100.0), -9e3),
    "-30000": (torch.where(CLOSED, 0.0, -3e4), -9e3),
    "minus infinity": (torch.where(CLOSED, 0.0, -math.inf), -9e3),
    "nothing": (torch.zeros(37, 37), -9e3),
}
"""By hand: a bias, and the largest number in it that is to forbid a key."""


@pytest.mark.parametrize("name", WEAK)
def test_which_numbers_forbid_a_key_is_as_in_the_renderer(name: str) -> None:
    bias, bound = WEAK[name]
    empty = torch.empty(2, 37, 16)
    found = find_mask_bound(LayerTensors(empty, empty, 1.0, bias=bias))
    assert found is not None
    assert found.item() == bound
    if bias.dtype != torch.bfloat16:
        allowed = Mask(bias.numpy(), False).allowed
        expected = (bias > bound).numpy()
        assert (np.ones_like(expected) if allowed is None else allowed).reshape(
            expected.shape
        ).tolist() == expected.tolist()
