"""What the model's own latest forward showed, while it waits to be logged."""

from dataclasses import dataclass

from attnmon.capture import Inputs
from attnmon.serialize.capture_builder import CaptureBuilder


@dataclass(frozen=True, slots=True)
class HeldForward:
    """A capture that waits to be logged, and the inputs of the forward it is of."""

    builder: CaptureBuilder
    inputs: Inputs
    sizes: tuple[int, ...]
    """The sizes of the inputs along the dimension that holds the samples."""

    @property
    def batch(self) -> int:
        """The number of samples in the batch; 0 where that is not known.

        The largest size: an input that is the same for all samples has size 1.
        """
        return max(self.sizes, default=0)

    def samples_in(self, batch: int) -> int:
        """Return how many samples an attention of this `batch` is of, as the inputs tell.

        Some models swap the first two dimensions of their inputs.
        """
        if batch in self.sizes:
            return batch
        second = (tensor.shape[1] for tensor in self.inputs if tensor.dim() > 1)
        return batch if batch in second else self.batch

    def sample_in(self, batch: int) -> int:
        """Return the index of the captured sample in an attention of this `batch`.

        If the batch is smaller than the inputs told, its last sample is captured from here on,
        for all layers. An attention without a batch is the same for all samples.
        """
        if 1 < batch <= self.builder.sample:
            self.builder.sample = batch - 1
        return min(self.builder.sample, batch - 1)

    def is_of(self, logged: Inputs) -> bool:
        """Return whether it was the forward of these tensors; true if no tensors were logged."""
        return not logged or any(one is other for one in logged for other in self.inputs)
