"""An oracle: the attentions that a model of transformers returns when it is asked for them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scanlib.architecture import SAMPLE, SAMPLES, call

ROLES = {
    "encoder_attentions": ("encoder_self",),
    "decoder_attentions": ("decoder_self",),
    "cross_attentions": ("decoder_cross", "encoder_cross"),
    "attentions": ("encoder_self", "decoder_self"),
}
"""Roles that a map may have which stands in the output under this name."""


@dataclass
class Returned:
    """Eager attentions of the sample that is looked at."""

    by_module: dict[str, list[Tensor]] = field(default_factory=dict)
    """Weights [heads, queries, keys], one for each call of the module."""
    by_role: list[tuple[tuple[str, ...], int, Tensor]] = field(default_factory=list)
    """The roles that are right, the layer's index, and the weights."""


def returned_attentions(model: nn.Module, inputs: Any) -> Returned:
    """Returns what the model's eager attention returns; empty where it returns none.

    Leaves the model as it was: another implementation is chosen for this one forward.
    """
    found = Returned()
    choose = getattr(model, "set_attn_implementation", None)
    if choose is None or not isinstance(inputs, dict):
        return found
    before = model.config._attn_implementation  # type: ignore[union-attr]
    try:
        with ExitStack() as stack, torch.no_grad():
            choose("eager")
            stack.callback(choose, before)
            for name, module in model.named_modules():
                handle = module.register_forward_hook(_noting(name, found))
                stack.callback(handle.remove)
            output = call(model, {**inputs, "output_attentions": True})
        found.by_role = list(_by_role(output))
    except Exception:  # it has no eager attention, or returns none: other oracles judge
        return Returned()
    return found


def _noting(name: str, found: Returned) -> Any:
    def note(module: nn.Module, args: object, result: object) -> None:
        several = result if isinstance(result, tuple) else ()
        maps = [each for each in several if isinstance(each, Tensor) and _is_map(each)]
        if maps:
            found.by_module.setdefault(name, []).append(maps[-1][SAMPLE])

    return note


def _is_map(tensor: Tensor) -> bool:
    if tensor.dim() != 4 or len(tensor) != SAMPLES or not tensor.is_floating_point():
        return False
    sums = tensor.float().sum(-1)
    return bool(((sums < 1.01) & (sums > -1e-6)).all() and (tensor >= 0).all() and sums.max() > 0.1)


def _by_role(output: Any) -> Iterator[tuple[tuple[str, ...], int, Tensor]]:
    if not isinstance(output, Mapping):
        return
    for name, roles in ROLES.items():
        several = output.get(name)
        for index, weights in enumerate(several if isinstance(several, (tuple, list)) else ()):
            if isinstance(weights, Tensor) and _is_map(weights):
                yield roles, index, weights[SAMPLE]
