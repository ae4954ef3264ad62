"""Layers of stages get their numbers in the whole model; moments are those of all weights."""

import numpy as np
import pytest

from attnmon_renderer.model_ranks.layer_places import LayerRow, layer_numbers
from attnmon_renderer.model_ranks.record_merging import merged_moments

SELF = ("decoder", "self_attention")
CROSS = ("decoder", "cross_attention")


def test_names_with_numbers_of_the_whole_model_give_them() -> None:
    whole = {(0, 0): 0, (0, 7): 7, (1, 0): 8, (1, 7): 15}
    rows = [
        LayerRow(*place[:1], SELF, place[1], f"layers.{at}.attn") for place, at in whole.items()
    ]
    assert list(layer_numbers(rows).values()) == [0, 7, 8, 15]


def test_stages_follow_each_other_where_names_begin_anew() -> None:
    rows = [LayerRow(stage, role, number, f"{number}.{role[1]}")
            for stage in (0, 1, 2) for role in (SELF, CROSS) for number in (0, 1)]  # fmt: skip
    numbers = layer_numbers(rows)
    assert [numbers[stage, CROSS, 1] for stage in (0, 1, 2)] == [1, 3, 5]


def test_the_same_layer_of_several_tensor_ranks_is_one() -> None:
    rows = [LayerRow(0, SELF, 0, "a"), LayerRow(0, SELF, 0, "a"), LayerRow(1, SELF, 0, "a")]
    assert sorted(layer_numbers(rows).values()) == [0, 1]


def test_moments_are_those_of_all_weights_together() -> None:
    parts = [np.random.default_rng(seed).random((heads, 3, 5)) ** 4
             for seed, heads in ((0, 2), (1, 1), (2, 5))]  # fmt: skip
    rows = [{"shape": part.shape, "mean": part.mean(), "std": part.std(), "min": part.min(),
             "max": part.max()} for part in parts]  # fmt: skip
    together = np.concatenate(parts)
    expected = {"mean": together.mean(), "std": together.std(), "min": together.min(),
                "max": together.max()}  # fmt: skip
    assert merged_moments(rows) == pytest.approx(expected, rel=1e-12)


def test_moments_are_not_known_where_a_part_s_are_not() -> None:
    row = {"shape": (1, 1, 1), "mean": None, "std": 0.0, "min": 0.0, "max": 0.0}
    assert set(merged_moments([row]).values()) == {None}
