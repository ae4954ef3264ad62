"""Which steps are due."""

from collections.abc import Iterable
from typing import Literal

Due = Literal["step", "epoch"]


class Schedule:
    """Every `frequency` steps, step 0 included, and the first logged step of certain epochs."""

    def __init__(self, frequency: int, epochs: Iterable[int]) -> None:
        self.interval = frequency
        """Steps from one due step to the next at present."""
        self._frequency = frequency
        self._epochs_to_come = set(epochs)
        self._overdue: Due | None = None
        self._last: int | None = None
        self._stride = 1

    def due(self, step: int, epoch: int | None) -> Due | None:
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
        if self._overdue is not None:
            overdue, self._overdue = self._overdue, None
            return overdue
        return None if step % self.interval else "step"

    def passes(self, step: int, epoch: int | None) -> bool:
        """Whether neither this step is due nor the next will be; then it is noted, and that is all.

        What most steps are asked, in place of `due` and `next_is_due`.
        """
        if self._last is None or self._overdue is not None or epoch in self._epochs_to_come:
            return False
        stride = step - self._last
        if step % self.interval == 0 or (step + stride) % self.interval == 0:
            return False
        self._last, self._stride = step, stride
        return True

    def next_is_due(self) -> bool:
        """Whether the next step will be, if steps go on as they went. An epoch is a surprise."""
        if self._last is None or self._overdue is not None:
            return True
        return (self._last + self._stride) % self.interval == 0

    def would_be_due(self, step: int, epoch: int | None = None) -> bool:
        """Whether this step will be, as far as is known before it is logged."""
        if epoch in self._epochs_to_come:
            return True
        return self._overdue is not None or step % self.interval == 0

    def stretch(self, times: int) -> None:
        """Fewer steps are due: every `frequency` times this. Epochs stay as they were chosen."""
        self.interval = self._frequency * times

    def postpone(self, due: Due) -> None:
        """A due step was missed: the next one is due for the same reason."""
        self._overdue = self._overdue or due
