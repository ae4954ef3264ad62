"""Which steps are due."""

from collections.abc import Iterable
from typing import Literal

DueReason = Literal["step", "epoch"]
NO_STEPS = range(0)


class Schedule:
    """Every `frequency` steps, step 0 included, and the first logged step of certain epochs."""

    def __init__(self, frequency: int, epochs: Iterable[int]) -> None:
        self.interval = frequency
        """Steps from one due step to the next at present."""
        self._frequency = frequency
        self._epochs_to_come = set(epochs)
        self._forced: DueReason | None = None
        self._last: int | None = None
        self._stride = 0
        """From one logged step to the next; 0 as long as that is not known."""

    def register(self, step: int, epoch: int | None) -> DueReason | None:
        """Why this step is due, if it is; an epoch is due once.

        A step that is due for both reasons is the epoch's, so that every chosen epoch has its
        folder.
        """
        if self._last is not None:
            self._stride = step - self._last
        self._last = step
        if epoch in self._epochs_to_come and epoch is not None:
            self._epochs_to_come.discard(epoch)
            return "epoch"
        if self._forced is not None:
            forced, self._forced = self._forced, None
            return forced
        return None if step % self.interval else "step"

    def idle_steps(self) -> range:
        """The steps from here on for which nothing need be done, if they go on as they went.

        Neither they nor the next after them are due; an epoch is a surprise. What is passed over
        is to be told to `register_idle`, and that is all that most steps cost.
        """
        if self._last is None or self._forced is not None or self._stride < 1:
            return NO_STEPS
        next_due = (self._last // self.interval + 1) * self.interval
        return range(self._last + 1, next_due - self._stride)

    def register_idle(self, step: int) -> None:
        """This step was quiet."""
        self._last = step

    def next_is_due(self) -> bool:
        """Whether the next step will be, if steps go on as they went. An epoch is a surprise."""
        if self._last is None or self._forced is not None:
            return True
        return (self._last + (self._stride or 1)) % self.interval == 0

    def is_due(self, step: int, epoch: int | None = None) -> bool:
        """Whether this step will be, as far as is known before it is logged."""
        if epoch in self._epochs_to_come:
            return True
        return self._forced is not None or step % self.interval == 0

    def stretch_interval(self, times: int) -> None:
        """Fewer steps are due: every `frequency` times this. Epochs stay as they were chosen."""
        self.interval = self._frequency * times

    def make_next_step_due(self, due: DueReason) -> None:
        """A due step was missed: the next one is due for the same reason."""
        self._forced = self._forced or due
