"""Distances, matching, wobble and the test of groups, against what they mean written out."""

from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from support.maps import random_weights

from attnmon_renderer.compare.measures import wobble
from attnmon_renderer.compare.measures.assignment import assign
from attnmon_renderer.compare.measures.head_distances import (
    RowDistributions,
    all_distances,
    numbered_distances,
)
from attnmon_renderer.compare.measures.permutation_test import LEVEL, permutation_test

Array = Any


def in_float64(a: Array, b: Array) -> float:
    """The mean Jensen–Shannon divergence of two maps [queries, keys], in bits."""

    def divergence(p: Array, q: Array) -> Array:
        terms = np.where(p > 0, p * np.log2(np.where(p > 0, p / np.where(q > 0, q, 1), 1)), 0)
        return terms.sum(-1)

    a, b = (each.astype(np.float64) / each.astype(np.float64).sum(-1)[:, None] for each in (a, b))
    middle = (a + b) / 2
    return float((divergence(a, middle) + divergence(b, middle)).mean() / 2)


@pytest.mark.parametrize("causal", [False, True])
def test_a_distance_is_the_mean_divergence_of_the_queries(causal: bool) -> None:
    a, b = (random_weights(3, 17, 17, seed, causal) for seed in (1, 2))
    expected = [[in_float64(one, other) for other in b] for one in a]
    found = all_distances(RowDistributions(a), RowDistributions(b))
    assert found == pytest.approx(np.array(expected), abs=2e-6)
    numbered = numbered_distances(RowDistributions(a), RowDistributions(b))
    assert numbered == pytest.approx(np.diagonal(expected), abs=2e-6)


def test_a_head_is_no_way_from_itself_and_one_bit_from_one_that_sees_other_keys() -> None:
    halves = np.zeros((2, 4, 8), np.float32)
    halves[0, :, :4] = halves[1, :, 4:] = 0.25
    found = all_distances(RowDistributions(halves), RowDistributions(halves))
    assert found.tolist() == [[0, 1], [1, 0]]
    weights = random_weights(5, 30, 30, causal=True)
    same = all_distances(RowDistributions(weights), RowDistributions(weights.copy()))
    assert np.diagonal(same).tolist() == [0] * 5


def test_rows_without_weights_count_in_no_distance() -> None:
    a, b = random_weights(2, 6, 6, 1), random_weights(2, 6, 6, 2)
    a[0, 3:] = 0
    a[1] = np.nan
    found = all_distances(RowDistributions(a), RowDistributions(b))
    assert found[0, 1] == pytest.approx(in_float64(a[0, :3], b[1, :3]), abs=2e-6)
    assert np.isnan(found[1]).all()


def test_cells_of_several_positions_only_make_a_distance_smaller() -> None:
    """That is what "at least" rests on; rows count for the queries that they stand for."""
    a, b = random_weights(1, 31, 31, 1), random_weights(1, 31, 31, 2)
    whole = in_float64(a[0], b[0])
    for step in (2, 3, 8):
        starts = np.arange(0, 31, step)
        counts = np.add.reduceat(np.ones(31), starts)
        pooled = [
            RowDistributions(
                np.add.reduceat(np.add.reduceat(each, starts, 1), starts, 2) / counts[:, None],
                counts,
            )
            for each in (a, b)
        ]
        assert 0 < numbered_distances(*pooled)[0] < whole


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (6, 6), (4, 6)])
def test_an_assignment_is_the_cheapest_of_all(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows)
    for costs in (random.random((rows, columns)), random.integers(0, 3, (rows, columns)) * 1.0):
        chosen = assign(costs)
        every = permutations(range(columns), rows)
        cheapest = min(sum(costs[row, to] for row, to in enumerate(each)) for each in every)
        assert len(set(chosen.tolist())) == rows
        assert costs[np.arange(rows), chosen].sum() == pytest.approx(cheapest, abs=1e-12)


def test_no_exchange_of_a_large_assignment_makes_it_cheaper() -> None:
    costs = np.random.default_rng(0).random((64, 64))
    chosen = assign(costs)
    own = costs[np.arange(64), chosen]
    gains = own[:, None] + own - costs[:, chosen] - costs[:, chosen].T
    assert gains.max() <= 1e-12
    planted = np.random.default_rng(1).permutation(64)
    costs[np.arange(64), planted] = -1
    assert assign(costs).tolist() == planted.tolist()


@pytest.mark.parametrize("costs", [np.zeros((3, 2)), np.array([[np.nan]])])
def test_an_assignment_that_cannot_be_is_refused(costs: Array) -> None:
    with pytest.raises(ValueError, match="rows"):
        assign(costs)


# How much a run moves by itself


def walks(seed: int, numbers: int = 40) -> Array:
    return np.random.default_rng(seed).normal(size=(21, numbers)) * np.linspace(1, 5, numbers)


def test_a_run_against_itself_is_no_wobble_at_all() -> None:
    near = walks(0)
    found = wobble.measure(near[9], near[9], near, near)
    assert (found.score, found.times.max()) == (0, 0)


def test_captures_of_one_kind_are_within_their_wobble_and_others_are_not() -> None:
    a, b = walks(1), walks(2)
    assert wobble.measure(a[9], b[9], a, b).score == pytest.approx(0.8, abs=0.3)
    moved = b + 10
    assert (wobble.measure(a[9], moved[9], a, moved).score or 0) > 2


def test_one_number_that_moved_far_is_found_among_many() -> None:
    a, b = walks(1), walks(2)
    b[:, 7] += 200
    found = wobble.measure(a[9], b[9], a, b)
    assert int(np.nanargmax(found.times)) == 7
    assert (found.score or 0) > 2


def test_the_wobble_of_a_number_is_the_smaller_one_of_both_runs() -> None:
    a, b = np.arange(5.0)[:, None] ** 2, np.arange(5.0)[:, None] * 3
    found = wobble.measure(a[2], b[2], a, b)
    assert (found.of_each[0], found.times[0]) == (min(max(1, 3, 5, 7), 3), pytest.approx(2 / 3))
    moves = np.arange(1.0, 41.0)
    assert wobble.bound(moves) == 39, "a 40th of 41 is within 95 of 100, and the largest is not"


def test_of_two_captures_of_one_kind_few_exceed_the_wobble() -> None:
    random = np.random.default_rng(8)
    runs = random.standard_t(4, size=(120, 2, 21, 60))
    scores = [wobble.measure(a[10], b[10], a, b).score or 0 for a, b in runs]
    assert np.mean(np.array(scores) > 1) < 0.2


def test_too_few_captures_or_only_nulls_give_no_wobble() -> None:
    a, b = walks(1), walks(2)
    assert wobble.measure(a[0], b[0], a[:2], b).score is None
    nothing = np.full((5, 3), np.nan)
    assert wobble.measure(nothing[0], nothing[0], nothing, nothing).score is None


def test_a_number_that_never_moved_and_now_differs_is_infinitely_many_wobbles() -> None:
    a, b = np.ones((5, 1)), np.full((5, 1), 2.0)
    assert (wobble.measure(a[0], b[0], a, b).score or 0) > 1e5


# Groups


def pseudo_f(runs: Array, first: tuple[int, ...]) -> float:
    """Anderson's F of one way to deal the runs out, from the sums of squares."""
    others = [run for run in range(len(runs)) if run not in first]
    centred = sum(((runs[list(of)] - runs[list(of)].mean(0)) ** 2).sum() for of in (first, others))
    total = ((runs - runs.mean(0)) ** 2).sum()
    return float((total - centred) / (centred / (len(runs) - 2)))


def test_the_p_value_is_that_of_all_ways_to_deal_the_runs_out() -> None:
    runs = np.random.default_rng(3).normal(size=(8, 30))
    runs[4:] += 0.3
    found = permutation_test(runs[:4], runs[4:])
    scaled = (runs - runs.mean(0)) / runs.std(0)
    shares = [pseudo_f(scaled, deal) for deal in combinations(range(8), 4)]
    own = pseudo_f(scaled, (0, 1, 2, 3))
    assert found.p == sum(share >= own - 1e-9 for share in shares) / 70
    assert found.effect == pytest.approx(own / (own + 6))
    assert (found.smallest_p, found.can_differ) == (2 / 70, True)


def test_groups_of_one_kind_differ_no_more_often_than_the_level_says() -> None:
    random = np.random.default_rng(5)
    found = [permutation_test(*random.standard_t(3, size=(2, 4, 50))) for _ in range(100)]
    assert sum(each.differs for each in found) <= 2 * LEVEL * 100
    assert np.mean([each.expected for each in found]) == pytest.approx(1 / 7, abs=0.01)


def test_groups_far_apart_differ_and_few_runs_cannot() -> None:
    random = np.random.default_rng(6)
    a, b = random.normal(size=(2, 4, 50))
    far = permutation_test(a, b + 3)
    assert (far.p, far.differs) == (2 / 70, True)
    few = permutation_test(a[:3], b[:3] + 3)
    assert (few.p, few.can_differ) == (0.1, False)


def test_many_runs_are_dealt_out_at_random_and_the_same_way_each_time() -> None:
    a, b = np.random.default_rng(7).normal(size=(2, 12, 5))
    first, second = (permutation_test(a, b + 2) for _ in range(2))
    assert first == second
    assert 0 < first.p < 0.001


def test_equal_runs_and_unknown_numbers_are_no_difference() -> None:
    a = np.ones((4, 3))
    a[0, 1] = np.nan
    found = permutation_test(a, np.ones((4, 3)))
    assert (found.is_equal, found.p, found.effect) == (True, 1, 0)
