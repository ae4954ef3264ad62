"""What watching costs beside the time counted in it, from forwards of the run itself."""

import random

import pytest

from attnmon.accounting.watching_cost import FEWEST_PAIRS, FIRST_PAIRS, WatchingCost


def test_the_difference_is_told_once_there_are_a_few_pairs_and_nothing_is_left_out() -> None:
    cost = WatchingCost()
    told = []
    for _ in range(20):
        told.append(cost.add_watched("narrow", 1.25))
        cost.add_plain(1.0)
    assert told[:FEWEST_PAIRS] == [0.0] * FEWEST_PAIRS
    assert sum(told) == pytest.approx(20 * 0.25)


def test_slow_moments_do_not_count() -> None:
    chance, cost, told = random.Random(0), WatchingCost(), 0.0
    for index in range(200):
        slow = 5.0 if index % 5 == 0 else 0.0
        told = cost.add_watched("narrow", 1.1 + slow + chance.gauss(0, 0.02))
        cost.add_plain(1.0 + chance.gauss(0, 0.02))
    assert told == pytest.approx(0.1, abs=0.02)


def told_of_real(seed: int, skewed: float) -> float:
    """Return the share that is told of what watching 100 forwards of 7 ms took, each 1.2 ms."""
    chance, cost, told, real = random.Random(seed), WatchingCost(), 0.0, 0.0

    def forward() -> float:
        slow = chance.expovariate(1 / 3e-3) if chance.random() < 0.1 else 0.0
        return 7e-3 * (1 + abs(chance.gauss(0, 0.05))) + slow

    for _ in range(100):
        tax = 1.2e-3 * chance.lognormvariate(-(skewed**2) / 2, skewed)  # of this mean
        told += cost.add_watched("narrow", forward() + tax)
        real += tax
        if cost.wants_plain:
            cost.add_plain(forward())
    return told / real


@pytest.mark.parametrize("skewed", [0.0, 0.5])
def test_on_the_average_it_tells_what_watching_costs(skewed: float) -> None:
    told = [told_of_real(seed, skewed) for seed in range(60)]
    assert sum(told) / len(told) == pytest.approx(1.0, abs=0.1)


def test_kinds_are_told_apart_and_nothing_is_ever_given_back() -> None:
    cost = WatchingCost()
    told: dict[str, list[float]] = {"whole": [], "narrow": []}
    for kind, seconds in [("whole", 3.0), ("narrow", 0.9)] * 8:
        told[kind].append(cost.add_watched(kind, seconds))
        cost.add_plain(1.0)
    assert sum(told["whole"]) == pytest.approx(16.0)
    assert not any(told["narrow"])


def test_few_forwards_are_timed_for_it() -> None:
    cost, wanted = WatchingCost(), []
    assert not cost.wants_plain
    for _ in range(4 * FIRST_PAIRS):
        cost.add_watched("narrow", 1.0)
        wanted.append(cost.wants_plain)
    assert wanted[:FIRST_PAIRS] == [True] * FIRST_PAIRS
    assert sum(wanted[FIRST_PAIRS:]) == 3
