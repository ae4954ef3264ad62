"""Weights as codes of one byte: the square root of a weight, on the scale of its head.

Square roots, because most weights of a map are small and a linear code loses them: on real maps it
misses their entropy by half a nat, this by a hundredth.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Floats

Codes = npt.NDArray[np.uint8]
LARGEST_CODE = 255


def encode(weights: Floats) -> tuple[Codes, Floats]:
    """Return the codes of maps [heads, rows, columns], and the scale of each head.

    A scale is the largest finite weight of its head. What is not finite, or negative, has code 0.
    """
    codes = np.zeros(weights.shape, np.uint8)
    scales = np.zeros(len(weights), np.float32)
    for head, values in enumerate(weights):
        known = values if np.isfinite(values).all() else np.where(np.isfinite(values), values, 0)
        scales[head] = known.max(initial=0)
        if scales[head] > 0:
            codes[head] = _encode_head(known, scales[head])
    return codes, scales


def _encode_head(values: Floats, scale: np.float32) -> Floats:
    """Return unrounded codes plus a half, which become codes when they are cut off."""
    known = np.maximum(values, 0)
    shares: Floats = np.divide(known, scale, dtype=np.float32)  # 1 / scale may be infinite
    np.sqrt(shares, out=shares)
    shares *= LARGEST_CODE
    shares += np.float32(0.5)
    return shares


def decode(codes: Codes, scale: npt.ArrayLike) -> Floats:
    """Return the weights of codes; `scale` is that of their head, or broadcasts to them."""
    shares = codes.astype(np.float32) / np.float32(LARGEST_CODE)
    decoded: npt.NDArray[Any] = np.square(shares) * np.asarray(scale, np.float32)
    return decoded


def thumbnails(codes: Codes, side: int) -> Codes:
    """Return codes [heads, rows, columns] pooled by maximum, to at most `side` a side."""
    for axis in (1, 2):
        step = max(1, -(-codes.shape[axis] // side))
        codes = np.maximum.reduceat(codes, np.arange(0, codes.shape[axis], step), axis)
    return codes
