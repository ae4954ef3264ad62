"""What a mask of each query says of padding and of reach, found on its device without waiting."""

from typing import NamedTuple

import torch
from torch import Tensor

from attnmon.device.kernel_builds import BUILDS
from attnmon.device.layer_tensors import LayerTensors


class MaskFacts(NamedTuple):
    """What a mask that differs from query to query says."""

    padding: Tensor
    """bool [queries] Which queries are padding, as in the renderer's `Mask.padding`."""
    ends: Tensor
    """int32 [2, queries] The first and the last key that a query may attend to in any head; the
    number of keys, and −1, where there is none."""


def mask_facts(layer: LayerTensors) -> MaskFacts:
    """Start to find what a layer's mask says, on the present stream.

    Raises:
        NotBuilt: a kernel was not launched.
    """
    from attnmon.device import mask_kernels as kernels  # they need Triton

    _, queries, keys = layer.shape
    bias, (head, row, key) = layer.bias_as_bytes, layer.bias_strides
    assert bias is not None
    facts = torch.empty(3, queries, dtype=torch.int32, device=bias.device)
    latest = torch.empty(keys, dtype=torch.int32, device=bias.device)
    heads = bias.shape[0] if bias.dim() == 3 else 1
    shared = {
        "IS_BOOL": bias.dtype == torch.uint8,
        "ROWS": kernels.ROWS,
        "KEYS": kernels.KEYS,
        "num_warps": kernels.WARPS,
    }
    read = heads, queries, keys, head, row, key
    kernels.survey_mask_rows[(-(-queries // kernels.ROWS),)](bias, facts, *read, **shared)
    kernels.survey_mask_keys[(-(-keys // kernels.KEYS),)](bias, latest, *read, **shared)
    BUILDS.require()  # of numbers that nobody wrote, places in memory would be made
    return MaskFacts(_padding(facts, latest, layer.earlier), facts[:2])


def _padding(facts: Tensor, latest: Tensor, earlier: int) -> Tensor:
    """Return which queries' own keys are masked for every query that sees what it may."""
    queries, keys = facts.shape[1], len(latest)
    if earlier + queries != keys:
        return torch.zeros(queries, dtype=torch.bool, device=facts.device)
    closed = facts[2]
    blind = closed.argmax(keepdim=True)  # the first that does not see all, or the very first
    is_causal = facts[1].gather(0, blind) <= keys - queries + blind
    padding = latest[earlier:] < blind * is_causal
    return padding & ~padding.all()
