"""Decides which steps are due. Depends on nothing but the numbers of steps and epochs."""

from collections.abc import Iterable
from typing import Literal

DueReason = Literal["step", "epoch"]
"""Why a step is due: `save_frequency`, or the first step of one of `save_on_epochs`."""
NO_STEPS = range(0)


class Schedule:
    """The due steps: every `frequency` steps from 0, and the first logged step of some epochs.

    The first step of all that is logged is due whatever its number, so that one sees that it works.
    It predicts coming steps from the stride between the last two. An epoch cannot be predicted.
    """

    def __init__(self, frequency: int, epochs: Iterable[int]) -> None:
        self.interval = frequency
        """Steps from one due step to the next, at present."""
        self._frequency = frequency
        self._epochs_to_come = set(epochs)
        self._forced: DueReason | None = "step"
        """Why the next step is due whatever its number; None if it is not."""
        self._last_step: int | None = None
        self._stride = 0
        """Steps from one logged step to the next; 0 until two steps were logged."""

    def register(self, step: int, epoch: int | None) -> DueReason | None:
        """Register a logged step, and return why it is due; None if it is not.

        Each chosen epoch is due once. A step that is due for both reasons is due for its epoch, so
        that every chosen epoch has a folder.
        """
        if self._last_step is not None:
            self._stride = step - self._last_step
        self._last_step = step
        forced, self._forced = self._forced, None
        if epoch in self._epochs_to_come and epoch is not None:
            self._epochs_to_come.discard(epoch)
            return "epoch"
        if forced is not None:
            return forced
        return None if step % self.interval else "step"

    def idle_steps(self) -> range:
        """Return the coming steps that need no work, if the stride stays the same.

        Neither these steps nor the one after each of them are due. When one of them is logged in
        the same epoch, `register_idle` is all that is to be called: most steps cost no more.
        """
        if self._last_step is None or self._forced is not None or self._stride < 1:
            return NO_STEPS
        next_due = (self._last_step // self.interval + 1) * self.interval
        return range(self._last_step + 1, next_due - self._stride)

    def register_idle(self, step: int) -> None:
        """Register a logged step that is one of `idle_steps`."""
        self._last_step = step

    def next_is_due(self) -> bool:
        """Return whether the next step is due, if the stride stays the same."""
        if self._last_step is None or self._forced is not None:
            return True
        return (self._last_step + (self._stride or 1)) % self.interval == 0

    def is_due(self, step: int, epoch: int | None = None) -> bool:
        """Return whether this step is due once logged, as far as is known. Changes nothing."""
        if epoch in self._epochs_to_come:
            return True
        return self._forced is not None or step % self.interval == 0

    def stretch_interval(self, factor: int) -> None:
        """Make steps due every `frequency` · `factor` steps. Chosen epochs stay due."""
        self.interval = self._frequency * factor

    def make_next_step_due(self, reason: DueReason) -> None:
        """Make the next logged step due, for this reason unless one is set already."""
        self._forced = self._forced or reason
