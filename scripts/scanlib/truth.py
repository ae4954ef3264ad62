"""What the oracles say of a model, before anything is captured."""

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from scanlib.architecture import SAMPLE, Built, call, float_tensors
from scanlib.returned_attentions import Returned, returned_attentions
from scanlib.softmaxes import Softmax, softmaxes

TOLERANCE = 1e-4
"""Of a weight: a batch of one is computed in another order than a batch of three."""


@dataclass
class Truth:
    """What the oracles say of a model and its inputs."""

    alone: list[Softmax]
    """The softmaxes of the sample's own forward."""
    exact: list[Softmax]
    """The same in float64; empty where the model cannot be run so."""
    together: list[Softmax]
    """Those of the batch's forward, for maps whose note says that they are of all samples."""
    returned: Returned
    independent: bool
    """Whether the sample's output is the same alone and in the batch."""
    distinct: bool
    """Whether another sample has other maps, so that a wrong sample would be noticed."""

    @property
    def exact_and_alone(self) -> list[Softmax]:
        """What a map may be: that in float64, or in the model's own precision."""
        return self.exact + self.alone

    @property
    def attending(self) -> list[Softmax]:
        return [each for each in self.alone if each.is_token_attention]


def truth(built: Built) -> Truth:
    """Asks the oracles. Raises what a forward of one sample raises."""
    model, inputs, own = built.model, built.inputs, built.alone(SAMPLE)
    with torch.no_grad():
        outputs = list(float_tensors(call(model, inputs)))
        single = list(float_tensors(call(model, own)))
    alone = softmaxes(model, own, call)
    exact: list[Softmax] = []
    with suppress(Exception):  # it has tensors of its own that stay in float32
        exact = softmaxes(copy.deepcopy(model).double(), _in_float64(own), call)
    other = softmaxes(model, built.alone(0), call)
    return Truth(
        alone=alone,
        exact=exact,
        together=softmaxes(model, inputs, call),
        returned=returned_attentions(model, inputs),
        independent=_independent(outputs, single),
        distinct=_distinct(alone, other),
    )


def _in_float64(inputs: Any) -> Any:
    return tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, inputs)


def _independent(together: Sequence[Tensor], single: Sequence[Tensor]) -> bool:
    """Whether what the sample gives alone stands in the batch's output too.

    Of outputs that are one number, as a loss, it cannot be told: they are taken to.
    """
    pairs = [
        (batch, one)
        for batch, one in zip(together, single, strict=False)
        if batch.dim() and batch.shape[1:] == one.shape[1:] and len(batch) > len(one) > 0
    ]
    return all(_is_within(one, batch) for batch, one in pairs)


def _is_within(one: Tensor, batch: Tensor) -> bool:
    allowed = 1e-3 * max(1.0, float(one.abs().max()))
    pieces = batch.unfold(0, len(one), 1).movedim(-1, 1)
    return any(torch.allclose(each, one, rtol=0, atol=allowed) for each in pieces)


def _distinct(alone: Sequence[Softmax], other: Sequence[Softmax]) -> bool:
    pairs = [
        (a.weights, b.weights) for a, b in zip(alone, other, strict=False) if a.is_token_attention
    ]
    return all(a.shape != b.shape or bool((a - b).abs().max() > 10 * TOLERANCE) for a, b in pairs)
