"""Which steps are due."""

from collections.abc import Iterable
from typing import Literal

Due = Literal["step", "epoch"]


class Schedule:
    """Every `frequency` steps, step 0 included, and the first logged step of certain epochs."""

    def __init__(self, frequency: int, epochs: Iterable[int]) -> None:
        self.frequency = frequency
        self._epochs_to_come = set(epochs)

    def due(self, step: int, epoch: int | None) -> Due | None:
        """Why this step is due, if it is; an epoch is due once.

        A step that is due for both reasons is the epoch's, so that every chosen epoch has its
        folder.
        """
        if epoch in self._epochs_to_come and epoch is not None:
            self._epochs_to_come.discard(epoch)
            return "epoch"
        return None if step % self.frequency else "step"
