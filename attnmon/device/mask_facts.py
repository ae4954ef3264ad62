"""What a mask says of padding and of reach, found on its device without waiting for it."""

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


def is_alike_for_queries(bias: Tensor) -> bool:
    """Return whether a mask says the same of every query."""
    return bias.dim() < 2 or bias.shape[-2] == 1 or bias.stride(-2) == 0


def padding_of(
    bias: Tensor, bound: Tensor | None, queries: int, keys: int, earlier: int
) -> Tensor | None:
    """Return [queries] which of a sequence's queries are padding, all False where all would be.

    Those whose own key is masked, as in the renderer's `Mask.padding`. None where queries have no
    keys of their own. `bias`: a mask that says the same of every query; `bound`: of one that is
    added, the largest number that forbids a key.
    """
    if earlier + queries != keys:
        return None
    row = bias if bias.dim() < 2 else bias.select(-2, 0)
    allowed = row if bound is None else row > bound
    seen = allowed.reshape(-1, allowed.shape[-1]).any(0).expand(keys)
    padding = ~seen[earlier:]
    return padding & ~padding.all()


def find_mask_bound(layer: LayerTensors) -> Tensor | None:
    """Start to find the largest number of a float bias that forbids a key; None without one.

    float32 [1]. Of the first and the last query, as in the renderer. Where the kernel was not
    launched, others tell by `require`.
    """
    from attnmon.device.kernels import mask_kernels as kernels  # they need Triton

    bias = layer.bias
    if bias is None or bias.dtype == torch.bool:
        return None
    bound = torch.empty(1, dtype=torch.float32, device=bias.device)
    heads = bias.shape[0] if bias.dim() == 3 else 1
    read = heads, *layer.shape[1:], *layer.bias_strides
    kernels.survey_mask_bound[(1,)](
        bias, bound, *read, KEYS=kernels.BOUND_KEYS, num_warps=kernels.WARPS
    )
    return bound


def mask_facts(layer: LayerTensors) -> MaskFacts:
    """Start to find what a layer's mask says, on the present stream; `bound` is known, if float.

    Raises:
        NotBuilt: a kernel was not launched.
    """
    from attnmon.device.kernels import mask_kernels as kernels  # they need Triton

    _, queries, keys = layer.shape
    bias, (head, row, key) = layer.bias_as_bytes, layer.bias_strides
    assert bias is not None
    assert bias.dtype == torch.uint8 or layer.bound is not None
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
    given = bias, facts if layer.bound is None else layer.bound
    kernels.survey_mask_rows[(-(-queries // kernels.ROWS),)](*given, facts, *read, **shared)
    kernels.survey_mask_keys[(-(-keys // kernels.KEYS),)](*given, latest, *read, **shared)
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
