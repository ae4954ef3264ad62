"""What the model's own latest forward showed, while it waits to be logged."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnmon.capture import Inputs
from attnmon.serialize.capture_builder import CaptureBuilder


@dataclass(frozen=True, slots=True)
class HeldForward:
    """A capture that waits to be logged, and the inputs of the forward it is of."""

    builder: CaptureBuilder
    inputs: Inputs
    batch: int
    """The number of samples in the batch; 0 where that is not known."""

    def sample_in(self, batch: int) -> int:
        """Return the index of the captured sample in an attention of this `batch`.

        If the batch is smaller than the inputs told, its last sample is captured from here on,
        for all layers. An attention without a batch is the same for all samples.
        """
        if self.batch != batch == 1:
            return 0
        if batch <= self.builder.sample:
            self.builder.sample = batch - 1
        return min(self.builder.sample, batch - 1)

    def is_of(self, logged: Inputs) -> bool:
        """Return whether it was the forward of these tensors; true where that cannot be told."""
        return not (logged and self.inputs) or any(
            one is other or _is_same_memory(one, other) for one in logged for other in self.inputs
        )


def _is_same_memory(one: Any, other: Any) -> bool:
    """Return whether two inputs are views of the same values: as `x[:, :-1]`, written twice."""
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        place = getattr(one, "__array_interface__", None)  # NumPy's; a tensor has none
        return place is not None and place == getattr(other, "__array_interface__", None)
    try:
        return (
            one.shape == other.shape
            and one.dtype == other.dtype
            and one.layout == other.layout == torch.strided
            and one.stride() == other.stride()
            and one.device == other.device
            and one.data_ptr() == other.data_ptr() != 0
        )
    except RuntimeError:  # of a class that has no memory of its own
        return False
