"""The image that travels with a capture, against NumPy."""

from typing import Any

import numpy as np
import pytest
import torch

from attnmon.link.records.sample_image import LONGEST_IMAGE_SIDE
from attnmon.serialize.small_image import NoImage, small_image


def test_the_sample_s_values_are_stretched_from_the_smallest_to_the_largest() -> None:
    batch = np.random.default_rng(0).normal(size=(3, 3, 20, 30)).astype(np.float32)
    small = small_image(torch.from_numpy(batch), 1)
    one = batch[1].astype(np.float64)
    expected = np.rint(255 * (one - one.min()) / (one.max() - one.min())).transpose(1, 2, 0)
    assert np.abs(small.pixels.numpy() - expected).max() <= 1
    assert (small.size, small.sample, small.is_stretched) == ((20, 30), 1, True)
    assert (small.pixels.min(), small.pixels.max()) == (0, 255)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("samples", [0, 2])
def test_bytes_are_colours_and_stay_as_they_are(channels_last: bool, samples: int) -> None:
    colours = np.random.default_rng(1).integers(10, 200, (9, 7, 3), np.uint8)
    given: Any = colours if channels_last else colours.transpose(2, 0, 1)
    if samples:
        given = np.stack([given, 255 - given])
    small = small_image(given, 0)
    assert np.array_equal(small.pixels.numpy(), colours)
    assert not small.is_stretched


def test_grey_becomes_three_channels_and_an_opacity_is_left_out() -> None:
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7)
    assert np.array_equal(small_image(grey, 0).pixels.numpy(), np.stack([grey] * 3, axis=2))
    with_opacity = np.dstack([grey, grey + 1, grey + 2, np.zeros_like(grey)])
    assert np.array_equal(small_image(with_opacity, 0).pixels.numpy(), with_opacity[..., :3])


def test_a_large_image_becomes_the_means_of_its_areas() -> None:
    image = torch.rand(3, 512, 256, dtype=torch.float64)
    small = small_image(image, 0).pixels.double()
    means = image.view(3, 256, 2, 128, 2).mean(dim=(2, 4)).permute(1, 2, 0)
    low, high = means.aminmax()
    assert small.shape == (256, 128, 3)
    assert (small - 255 * (means - low) / (high - low)).abs().max() < 0.6


def test_one_of_any_size_is_small_and_keeps_its_proportions() -> None:
    small = small_image(torch.rand(3, 2000, 3000), 0)
    assert max(small.pixels.shape) == LONGEST_IMAGE_SIDE
    assert abs(small.pixels.shape[0] / small.pixels.shape[1] - 2 / 3) < 0.01
    assert small.size == (2000, 3000)


def test_what_no_patch_covers_is_cut_off() -> None:
    image = np.arange(11 * 13, dtype=np.uint8).reshape(11, 13)
    small = small_image(image, 0, crop=(4, 4))
    assert np.array_equal(small.pixels[..., 0].numpy(), image[:8, :12])
    assert small.size == (8, 12)


def test_values_that_are_not_finite_spoil_no_others() -> None:
    image = torch.linspace(-1, 1, 48).view(3, 4, 4)
    image[0, 0, 0], image[1, 1, 1] = float("nan"), float("inf")
    pixels = small_image(image, 0).pixels
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_neither_the_image_nor_the_random_state_changes() -> None:
    image = torch.rand(1, 3, 300, 300, requires_grad=True)
    before, state = image.detach().clone(), torch.get_rng_state()
    small = small_image(image, 0)
    assert torch.equal(image.detach(), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not small.pixels.requires_grad


def test_a_function_is_asked_for_it() -> None:
    colours = np.full((5, 6, 3), 7, np.uint8)
    assert np.array_equal(small_image(lambda: colours, 0).pixels.numpy(), colours)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (torch.rand(2, 3, 8, 8), "a batch of 2 has no sample 2"),
        (torch.rand(2, 8, 8), r"\[2, 8, 8\] is none"),
        (torch.rand(1, 1, 3, 8, 8), "is none"),
        (torch.rand(8), "is none"),
        ("cat.png", "not str"),
        (torch.rand(3, 3, 8).to_sparse(), "plain tensor"),
        (torch.rand(3, 3, 8), r"\(3, 8\) pixels are less than a patch"),
    ],
)
def test_what_is_no_image_of_the_sample_is_refused(given: Any, why: str) -> None:
    with pytest.raises(NoImage, match=why):
        small_image(given, 2, crop=(4, 4))
