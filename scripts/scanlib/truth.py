"""What the oracles say of a model, before anything is captured."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
    together: list[Softmax]
    """Those of the batch's forward, for maps whose note says that they are of all samples."""
    returned: Returned
    independent: bool
    """Whether the sample's output is the same alone and in the batch."""
    distinct: bool
    """Whether another sample has other maps, so that a wrong sample would be noticed."""

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
    other = softmaxes(model, built.alone(0), call)
    return Truth(
        alone=alone,
        together=softmaxes(model, inputs, call),
        returned=returned_attentions(model, inputs),
        independent=_independent(outputs, single),
        distinct=_distinct(alone, other),
    )


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
