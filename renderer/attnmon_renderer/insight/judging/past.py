"""What rules know of a run: its latest captures, and the losses of more of them."""

from collections import deque
from itertools import islice
from statistics import median

from attnmon_renderer.insight.judging.capture_record import CaptureRecord, LayerRecord, Place

RECENT = 16
"""Captures that are held with all their layers."""
MOST_LOSSES = 512
"""Losses that are held."""
SMOOTHED = 5
"""Losses whose median is one point of the loss, since single batches differ."""
FALLING = 10
"""Captures within which a loss that falls is compared."""


class Past:
    """The captures of a run, in step order; those behind a step that was resumed from are gone."""

    def __init__(self) -> None:
        self.count = 0
        """Captures so far."""
        self.recent: deque[CaptureRecord] = deque(maxlen=RECENT)
        """The latest, newest last."""
        self._first_losses: list[tuple[int, float]] = []
        self._losses: deque[tuple[int, float]] = deque(maxlen=MOST_LOSSES)
        self._norms: deque[tuple[int, float]] = deque(maxlen=MOST_LOSSES)

    def add(self, record: CaptureRecord) -> bool:
        """Add the newest capture; returns whether the steps went back, as in a resumed training."""
        went_back = bool(self.recent) and record.step <= self.recent[-1].step
        if went_back:
            self._forget_from(record.step)
        self.count += 1
        self.recent.append(record)
        for values, value in ((self._losses, record.loss), (self._norms, record.grad_norm)):
            if value is not None:
                values.append((record.step, value))
        if record.loss is not None and len(self._first_losses) < SMOOTHED:
            self._first_losses.append((record.step, record.loss))
        return went_back

    def _forget_from(self, step: int) -> None:
        kept = [record for record in self.recent if record.step < step]
        self.recent = deque(kept, maxlen=RECENT)
        for values in (self._first_losses, self._losses, self._norms):
            while values and values[-1][0] >= step:
                values.pop()

    @property
    def newest(self) -> CaptureRecord:
        """The capture that is judged."""
        return self.recent[-1]

    def of_layer(self, place: Place) -> list[LayerRecord]:
        """Return one layer in the latest captures, newest last."""
        found = (record.layers.get(place) for record in self.recent)
        return [layer for layer in found if layer is not None]

    def losses(self, most: int) -> list[float]:
        """Return the latest losses, newest last."""
        return [loss for _, loss in islice(self._losses, max(0, len(self._losses) - most), None)]

    def norms(self, most: int) -> list[float]:
        """Return the latest norms of gradients, newest last."""
        return [norm for _, norm in islice(self._norms, max(0, len(self._norms) - most), None)]

    def loss_is_worse(self, share: float, least: float) -> bool:
        """Return whether the loss is above its lowest by this share of it, and by `least`.

        Both are medians of a few captures. False while there are too few losses.
        """
        losses = self.losses(MOST_LOSSES)
        smooth = [median(losses[i : i + SMOOTHED]) for i in range(len(losses) - SMOOTHED + 1)]
        if len(smooth) <= SMOOTHED:
            return False
        return smooth[-1] - min(smooth) > max(least, share * abs(min(smooth)))

    def loss_is_learning(self, share: float, solved: float) -> bool:
        """Return whether the loss falls by `share` within ten captures, or nothing is left of it.

        Nothing is left where it is below `solved` of what it was at first. All are medians of a few
        captures. False while there are too few losses.
        """
        losses = self.losses(FALLING + SMOOTHED)
        if len(losses) < FALLING + SMOOTHED:
            return False
        now, before = median(losses[-SMOOTHED:]), median(losses[:SMOOTHED])
        first = median(loss for _, loss in self._first_losses)
        return now < (1 - share) * before or now < solved * first
