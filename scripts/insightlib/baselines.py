"""What others watch: the loss, the norm of the gradients, and the size of the largest logit."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from statistics import fmean, pstdev

WINDOW = 128
FEWEST = 32


def above_six_sigma(values: Sequence[float]) -> list[int]:
    """Return the steps that are 6 σ above the mean of the 128 before: OLMo-core's monitor."""
    found = []
    for step in range(FEWEST, len(values)):
        before = [value for value in values[max(0, step - WINDOW) : step] if isfinite(value)]
        if not isfinite(values[step]) or (
            before and values[step] > fmean(before) + 6 * pstdev(before)
        ):
            found.append(step)
    return found


def twice_the_mean(losses: Sequence[float]) -> list[int]:
    """Return the steps at which five losses in a row are twice the mean: llm-foundry's callback."""
    found, held = [], 0
    for step in range(FEWEST, len(losses)):
        before = [loss for loss in losses[max(0, step - 100) : step] if isfinite(loss)]
        is_high = not isfinite(losses[step]) or losses[step] > 2 * fmean(before or [0.0])
        held = held + 1 if is_high else 0
        if held >= 5:
            found.append(step)
    return found


def raised_floor(losses: Sequence[float]) -> list[int]:
    """Return the steps at which the lowest of 20 losses is 6 σ above those before: Marin's."""
    found = []
    for step in range(FEWEST + 20, len(losses)):
        before = [each for each in losses[max(0, step - 20 - WINDOW) : step - 20] if isfinite(each)]
        floor = min((each for each in losses[step - 20 : step] if isfinite(each)), default=None)
        if floor is None or (before and floor > fmean(before) + max(0.05, 6 * pstdev(before))):
            found.append(step)
    return found


def of_loss(losses: Sequence[float]) -> list[int]:
    """Return the steps at which any of the three rules about the loss alarms."""
    return sorted({*above_six_sigma(losses), *twice_the_mean(losses), *raised_floor(losses)})


def large_logits(tops: Sequence[tuple[int, float]]) -> list[int]:
    """Return the steps of captures at which the largest logit is past 100 for the second time."""
    pairs = pairwise(tops)
    return [step for (_, before), (step, top) in pairs if before > 100 and top > 100]


def episodes(steps: Sequence[int], quiet: int = 50) -> int:
    """Return how many alarms these are, where those of neighbouring steps are one."""
    gaps = (step - before for before, step in pairwise(steps))
    return bool(steps) + sum(gap > quiet for gap in gaps)
