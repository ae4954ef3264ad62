"""Captures are thinned out on a logarithmic axis of steps."""

import math
from itertools import pairwise

import numpy as np
import pytest

from attnmon_renderer.storage.budget.thinning import ThinnedCaptures


def thinned(steps: range, most: int) -> list[int]:
    """Returns the steps that are left of a run with room for so many captures."""
    captures = ThinnedCaptures([])
    left: set[int] = set()
    for step in steps:
        captures.add(step, f"step_{step}")
        left.add(step)
        while len(left) > most:
            found = captures.least_missed()
            assert found is not None
            captures.remove(*found)
            left.remove(found[0])
    return sorted(left)


def ideal_gap(steps: range, most: int) -> float:
    """Returns the largest gap of the best choice, but for gaps that no choice can make smaller.

    Such a choice keeps the first captures, up to the one at which the next is a gap away, and is
    evenly spaced from there on. Found by trying every number of first captures.
    """
    positions = [math.log1p(step) for step in steps]
    return min(
        max((positions[-1] - positions[first - 1]) / (most - first), following)
        for first, following in ((n, positions[n] - positions[n - 1]) for n in range(1, most))
    )


@pytest.mark.parametrize("every", [1, 100])
def test_after_10000_captures_no_gap_is_twice_the_ideal(every: int) -> None:
    steps = range(0, 10_000 * every, every)
    left = thinned(steps, 200)
    assert (len(left), left[0], left[-1]) == (200, steps[0], steps[-1])
    ideal = ideal_gap(steps, 200)
    gaps = [
        math.log1p(later) - math.log1p(step)
        for step, later in pairwise(left)
        if later - step > every  # what lies between two neighbours of the run is nobody's choice
    ]
    assert max(gaps) <= 2 * ideal


def test_the_one_that_is_missed_least_is_that_of_all_tried() -> None:
    chance = np.random.default_rng(0)
    captures, left = ThinnedCaptures([]), set[int]()
    for step in chance.permutation(300).tolist():
        captures.add(step, f"step_{step}")
        left.add(step)
        if len(left) > 20 or (len(left) > 2 and chance.random() < 0.3):
            found = captures.least_missed()
            assert found is not None
            order = sorted(left)
            gaps = {
                step: math.log1p(after) - math.log1p(before)
                for before, step, after in zip(order, order[1:], order[2:], strict=False)
            }
            assert gaps[found[0]] == min(gaps.values())
            captures.remove(*found)
            left.remove(found[0])


def test_what_is_spared_goes_after_all_others_and_the_first_after_that() -> None:
    captures = ThinnedCaptures((step, f"step_{step}") for step in range(5))
    captures.spare(3, "step_3")
    gone = []
    while len(captures) > 1:
        place = captures.least_missed() or captures.last_resort()
        captures.remove(*place)
        gone.append(place[0])
    assert gone == [2, 1, 3, 0] or gone == [1, 2, 3, 0]


def test_finding_one_takes_no_longer_where_there_are_many() -> None:
    """Comparisons are counted, not time."""

    class Counted(int):
        count = 0

        def __lt__(self, other: int) -> bool:
            Counted.count += 1
            return int(self) < int(other)

    def comparisons(captures: int) -> int:
        kept = ThinnedCaptures((Counted(step), f"step_{step}") for step in range(captures))
        kept.least_missed()
        Counted.count = 0
        for step in range(captures, captures + 100):
            kept.add(Counted(step), f"step_{step}")
            found = kept.least_missed()
            assert found is not None
            kept.remove(*found)
        return Counted.count

    assert comparisons(20_000) < 3 * comparisons(200)
