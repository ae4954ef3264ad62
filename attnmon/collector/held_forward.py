"""What the model's own latest forward showed, while it waits to be logged."""

from dataclasses import dataclass

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
        """Return whether it was the forward of these tensors; true if no tensors were logged."""
        return not logged or any(one is other for one in logged for other in self.inputs)
