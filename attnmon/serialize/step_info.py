"""What is known of a capture before it is a message: when, of which sample, seen where."""

from dataclasses import dataclass

from torch import Tensor

from attnmon.link.messages import SeenIn
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.device_copy import CopyBatch
from attnmon.serialize.token_labels import Tokens


@dataclass(frozen=True, slots=True)
class StepInfo:
    """When in the training a capture is made."""

    step: int
    by_epoch: bool
    epoch: int | None
    loss: float | Tensor | None
    lr: float | None
    tokens: Tokens = None
    retained: bool = False
    """Whether the step is not due: its capture is retained for a while, and does not count."""


class NotSeen(Exception):
    """This step's attention was not looked at, and cannot be any more."""


About = tuple[int, SeenIn]
"""Of a capture: the sample's index in the batch, and in which forward it was seen."""


@dataclass(eq=False)
class Taken:
    """A capture before it is announced; what is not announced is given back."""

    builder: CaptureBuilder
    sample: int
    seen_in: SeenIn = "probe"

    @property
    def about(self) -> About:
        return self.sample, self.seen_in

    def keep(self) -> CaptureBuilder:
        """Take the draft out: it is not given back at the end of the `with`."""
        kept, self.builder = self.builder, self.builder.emptied()
        return kept

    def __enter__(self) -> "Taken":
        return self

    def __exit__(self, *error: object) -> None:
        self.builder.discard()


@dataclass(slots=True)
class PendingCapture:
    """A capture whose copies have not landed yet."""

    flight: CopyBatch
    step_info: StepInfo
    about: About
    builder: CaptureBuilder
    dump: str = ""
    """Why all that is kept is to be drawn after it; empty where it is not."""
