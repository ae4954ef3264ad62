"""A tile: a few heads by a few query rows of softmax weights."""

from dataclasses import dataclass

import numpy as np

from attnmon_renderer.analysis.arrays import Floats, Rows
from attnmon_renderer.analysis.masks import FORBIDDEN, MaskTile


@dataclass(frozen=True, slots=True)
class SoftmaxTile:
    """Weights, as ``weight[h, r, k] = factors[h, r] · numerators[h, r, k]``.

    A sum over keys is cheapest from the numerators, scaled afterwards. Keys that are left out at
    the end of the rows have weight zero.
    """

    heads: slice
    rows: Rows
    numerators: Floats
    """[heads, rows, keys]; may be the ring's own memory: read only."""
    factors: Floats
    """[heads, rows]"""
    tops: Floats
    """[heads, rows] the largest numerator of each row"""
    mask: MaskTile
    logits: Floats | None = None
    """Like `numerators`, less a constant for each row; None where only the weights are known."""
    peaks: Floats | None = None
    """[heads, rows] the largest logit of each row"""
    to_sink: Floats | None = None
    """[heads, rows] the share of the softmax that went to no key"""

    @np.errstate(all="ignore")
    def weights(self, keys: int) -> Floats:
        """[heads, rows, keys] A copy of the weights, with zeros at the end of the rows."""
        weights = np.zeros((*self.factors.shape, keys), np.float32)
        visible = weights[:, :, : self.numerators.shape[2]]
        np.multiply(self.numerators, self.factors[..., None], out=visible)
        return weights


def tile_of_weights(heads: slice, rows: Rows, weights: Floats, mask: MaskTile) -> SoftmaxTile:
    """A tile of weights that are known: [heads, rows, keys]."""
    ones = np.ones(weights.shape[:2], np.float32)
    return SoftmaxTile(heads, rows, weights, ones, weights.max(axis=2), mask)


@np.errstate(all="ignore")
def tile_of_logits(
    heads: slice,
    rows: Rows,
    logits: Floats,
    mask: MaskTile,
    sinks: Floats | None,
    out: Floats,
) -> SoftmaxTile:
    """The softmax over the keys of masked logits [heads, rows, keys], which are changed in place.

    `sinks` [heads] take part in it as one more column, which is left out again. `out` takes the
    numerators.
    """
    mask.apply_to(logits)
    peaks = logits.max(axis=2)
    highest = peaks if sinks is None else np.maximum(peaks, sinks[:, None])
    logits -= highest[..., None]
    np.exp(logits, out=out)
    totals = out @ np.ones(out.shape[2], np.float32)
    to_sink = None
    if sinks is not None:
        exponentials = np.exp(sinks[:, None] - highest)
        totals += exponentials
        to_sink = exponentials / totals
    nothing_allowed = peaks < FORBIDDEN / 2
    factors = np.where(nothing_allowed, np.float32(0), 1 / totals)
    tops = np.exp(peaks - highest)
    return SoftmaxTile(heads, rows, out, factors, tops, mask, logits, peaks, to_sink)
