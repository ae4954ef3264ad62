"""Weights as codes of one byte, against float64."""

import numpy as np
import pytest
from support.maps import encoded, random_weights, shrunk

from attnmon_renderer.maps.codes import decode, encode, thumbnails


def test_codes_are_the_rounded_square_roots_of_shares_of_the_largest_weight() -> None:
    weights = random_weights(3, 40, 50)
    codes, scale = encode(weights)
    expected, largest = encoded(weights)
    assert np.abs(codes.astype(int) - expected).max() <= 1
    assert (codes == expected).mean() > 0.999
    assert scale.tolist() == largest.tolist()


def test_a_decoded_weight_is_off_by_less_than_0_4_percent_of_the_largest() -> None:
    weights = random_weights(4, 64, 64)
    codes, scale = encode(weights)
    off = np.abs(decode(codes, scale[:, None, None]) - weights) / scale[:, None, None]
    assert off.max() <= 0.004


def test_what_is_no_weight_has_code_0() -> None:
    weights = np.array([[[np.nan, 0.5], [np.inf, -0.1]]], np.float32)
    codes, scale = encode(weights)
    assert codes.tolist() == [[[0, 255], [0, 0]]]
    assert scale.tolist() == [0.5]


@pytest.mark.parametrize("value", [0.0, 1e-45, 3e38])
def test_maps_of_one_value_come_back(value: float) -> None:
    weights = np.full((1, 2, 2), value, np.float32)
    codes, scale = encode(weights)
    assert decode(codes, scale[:, None, None]).tolist() == weights.tolist()


def test_thumbnails_are_the_largest_codes() -> None:
    codes = encode(random_weights(2, 100, 33))[0]
    small = thumbnails(codes, 32)
    assert small.shape == (2, 25, 17)
    assert (small == shrunk(codes)).all()
