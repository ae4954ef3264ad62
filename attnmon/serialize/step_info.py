"""What the user said of a step with `log_attention`."""

from dataclasses import dataclass

from torch import Tensor

from attnmon.serialize.sample_padding import Padding
from attnmon.serialize.small_image import Image
from attnmon.serialize.token_labels import Tokens


@dataclass(frozen=True, slots=True)
class StepInfo:
    """The step that a capture is of, as it was logged."""

    step: int
    by_epoch: bool
    """Whether it is due because of `save_on_epochs`, not of `save_frequency`."""
    epoch: int | None
    loss: float | Tensor | None
    """A tensor is read when the capture is announced: it may still be on a device."""
    lr: float | None
    tokens: Tokens = None
    """Labels for the positions of the sample."""
    image: Image = None
    """The image that the model saw, as the user gave it."""
    grad_norm: float | Tensor | None = None
    padding: Padding = None
    retained: bool = False
    """Whether the step is not due: its capture is retained for a while, and does not count."""
