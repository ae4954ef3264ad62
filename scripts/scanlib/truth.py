"""What the oracles say of a model, before anything is captured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scanlib.architecture import SAMPLE, SAMPLES, call, float_tensors, one_sample
from scanlib.returned_attentions import Returned, returned_attentions
from scanlib.softmaxes import Softmax, softmaxes

TOLERANCE = 1e-4
"""Of a weight: a batch of one is computed in another order than a batch of three."""


@dataclass
class Truth:
    """What the oracles say of a model and its inputs."""

    alone: list[Softmax]
    """The softmaxes of the sample's own forward."""
    returned: Returned
    independent: bool
    """Whether the sample's output is the same alone and in the batch."""
    distinct: bool
    """Whether another sample has other maps, so that a wrong sample would be noticed."""

    @property
    def attending(self) -> list[Softmax]:
        return [each for each in self.alone if each.is_token_attention]


def truth(model: nn.Module, inputs: Any) -> Truth:
    """Asks the oracles. Raises what a forward of one sample raises."""
    with torch.no_grad():
        together = list(float_tensors(call(model, inputs)))
        single = list(float_tensors(call(model, one_sample(inputs))))
    alone = softmaxes(model, one_sample(inputs), call)
    other = softmaxes(model, one_sample(inputs, 0), call)
    return Truth(
        alone, returned_attentions(model, inputs), _independent(together, single),
        _distinct(alone, other),
    )  # fmt: skip


def _independent(together: Sequence[Tensor], single: Sequence[Tensor]) -> bool:
    pairs = [
        (batch[SAMPLE], one[0])
        for batch, one in zip(together, single, strict=False)
        if batch.dim() and one.dim() and len(batch) == SAMPLES and len(one) == 1
    ]
    return bool(pairs) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs
    )


def _distinct(alone: Sequence[Softmax], other: Sequence[Softmax]) -> bool:
    pairs = [
        (a.weights, b.weights) for a, b in zip(alone, other, strict=False) if a.is_token_attention
    ]
    return all(a.shape != b.shape or bool((a - b).abs().max() > 10 * TOLERANCE) for a, b in pairs)
