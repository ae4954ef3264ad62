"""The user's own batch, which is looked at at every due step in place of the training's."""

from typing import Any, Self

import torch
from torch import nn

from attnmon.capture import copy_of, inputs_in, with_leaves


class ProbeBatch:
    """A copy of the option `probe`, so that it is the same at each step; on the model's device."""

    def __init__(self, given: Any) -> None:
        """Raises TypeError if there is no tensor or array in it."""
        if not inputs_in(given):
            raise TypeError(
                f"probe={given!r:.80}: give a batch, as log_attention takes it for enc: a tensor, "
                "a tuple of what the model is called with, or a dict of its named inputs"
            )
        self._batch = with_leaves(given, lambda leaf, _: copy_of(leaf))
        self._device: torch.device | None = None

    @classmethod
    def of(cls, given: Any) -> Self | None:
        """Return it; None if the user gave none. Raises TypeError."""
        return None if given is None else cls(given)

    def inputs_for(self, model: nn.Module) -> tuple[Any, Any]:
        """Return (enc, dec), where the model is. They are moved once, without waiting."""
        self._move_to(next((each.device for each in model.parameters()), None))
        batch = self._batch
        return batch if type(batch) is tuple and len(batch) == 2 else (batch, None)

    def _move_to(self, device: torch.device | None) -> None:
        if device in (None, self._device, torch.device("meta")):
            return
        self._device = device
        self._batch = with_leaves(
            self._batch,
            lambda leaf, _: (
                leaf.to(device, non_blocking=True) if isinstance(leaf, torch.Tensor) else leaf
            ),
        )
