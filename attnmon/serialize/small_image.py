"""Makes the image that a vision model sees small enough to be sent with a capture.

Everything happens on the image's own device, and nothing waits for that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter, functional

from attnmon.link.records.sample_image import LONGEST_IMAGE_SIDE

Image = Any | Callable[[], Any] | None
"""A batch of images, one image, or a function that returns either, as a user gives it."""

_CHANNELS = (1, 3, 4)
"""Grey, RGB, and RGB with an opacity, which is left out."""


class NoImage(ValueError):
    """What was given is no image of the sample; the message says why."""


@dataclass(frozen=True, slots=True)
class SmallImage:
    """The image of one sample, made small."""

    pixels: Tensor
    """uint8 [rows, columns, 3]"""
    size: tuple[int, int]
    """(rows, columns) of the image that it was made of."""
    sample: int
    """Index in the batch."""
    is_stretched: bool
    """Whether the values were no colours: the smallest became black, the largest white."""


def is_plain(tensor: object) -> bool:
    """Return whether this is a tensor of no class of its own: of others, indexing may wait."""
    return type(tensor) in (Tensor, Parameter) and tensor.layout == torch.strided  # type: ignore[attr-defined]


def small_image(image: Image, sample: int, crop: tuple[int, int] = (1, 1)) -> SmallImage:
    """Return a sample's image of at most `LONGEST_IMAGE_SIDE` pixels a side.

    Values of uint8 are colours; others, which are normalised, are stretched from the smallest to
    the largest.

    Args:
        image: [samples, channels, rows, columns], or channels last; or the image of one sample,
            which may have no channels.
        crop: the image is cut at the right and below to a multiple of this (height, width).

    Raises:
        NoImage: it is not of these shapes, or has no such sample.
    """
    with torch.no_grad():
        one = _channels_first(_one_sample(_as_tensor(image), sample))
        rows, columns = (one.shape[1 + dim] // step * step for dim, step in enumerate(crop))
        if not rows or not columns:
            raise NoImage(f"its {tuple(one.shape[1:])} pixels are less than a patch")
        is_colour = one.dtype == torch.uint8
        small = _reduced(one[:3, :rows, :columns])
        pixels = (small if is_colour else _stretched(small)).round().to(torch.uint8)
        pixels = pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous()
    return SmallImage(pixels, (rows, columns), sample, not is_colour)


def _as_tensor(image: Image) -> Tensor:
    given = image() if callable(image) and not isinstance(image, Tensor) else image
    if isinstance(given, Tensor):
        if not is_plain(given):
            raise NoImage(f"it is a {type(given).__name__}; give a plain tensor")
        return given.detach()
    array = np.asarray(given)
    if array.dtype.kind not in "buif":
        raise NoImage(f"give a tensor or an array of numbers, not {type(given).__name__}")
    return torch.from_numpy(array.copy())


def _one_sample(image: Tensor, sample: int) -> Tensor:
    if image.ndim != 4:
        return image
    if sample >= len(image):
        raise NoImage(f"a batch of {len(image)} has no sample {sample}")
    return image[sample]


def _channels_first(image: Tensor) -> Tensor:
    """Return [channels, rows, columns] of one image."""
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or not ({image.shape[0], image.shape[2]} & {*_CHANNELS}):
        raise NoImage(
            f"{list(image.shape)} is none. Give [samples, channels, rows, columns], or channels "
            "last, of 1, 3 or 4 channels; or the image of one sample"
        )
    return image if image.shape[0] in _CHANNELS else image.permute(2, 0, 1)


def _reduced(image: Tensor) -> Tensor:
    """Return the image as float32, small: the mean of the pixels of each area.

    Of a very large one not all pixels are looked at, since a copy of it would take much memory.
    """
    every = -(-max(image.shape[1:]) // (2 * LONGEST_IMAGE_SIDE))
    image = image[:, ::every, ::every].to(torch.float32)
    longest = max(image.shape[1:])
    if longest <= LONGEST_IMAGE_SIDE:
        return image
    rows, columns = (max(1, side * LONGEST_IMAGE_SIDE // longest) for side in image.shape[1:])
    return functional.adaptive_avg_pool2d(image, (rows, columns))


def _stretched(image: Tensor) -> Tensor:
    finite = torch.nan_to_num(image, 0.0, 0.0, 0.0)
    low, high = finite.aminmax()
    return (finite - low) * (255 / (high - low).clamp_min(1e-12))
