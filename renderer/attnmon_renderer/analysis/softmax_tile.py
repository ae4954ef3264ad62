"""A tile: the softmax weights of a few heads and a few query rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from attnmon_renderer.analysis.arrays import Booleans, Floats, Rows
from attnmon_renderer.analysis.masks import MASKED_LOGIT, MaskTile


@dataclass(frozen=True, slots=True)
class SoftmaxTile:
    """Softmax weights in two parts: ``weight[h, r, k] = factors[h, r] · numerators[h, r, k]``.

    A sum over keys is cheapest from the numerators, multiplied by the factors afterwards. Under a
    causal mask keys may be missing at the end of the rows; their weight is zero.
    """

    heads: slice
    rows: Rows
    numerators: Floats
    """[heads, rows, keys] Read-only: this may be the ring's own memory."""
    factors: Floats
    """[heads, rows] One over the softmax's denominator; zero where nothing is allowed."""
    largest_numerators: Floats
    """[heads, rows] The largest numerator of each row."""
    mask: MaskTile
    logits: Floats | None = None
    """[heads, rows, keys] Masked logits less a constant per row; None if only weights are known."""
    largest_logits: Floats | None = None
    """[heads, rows] The largest logit of each row; None if only weights are known."""
    sink_shares: Floats | None = None
    """[heads, rows] Share of the softmax that the sink took from the keys; None without sinks."""
    totals: Floats | None = None
    """[heads, rows] Sum of each row's numerators; None if only weights are known."""

    @property
    def sums(self) -> Floats:
        """[heads, rows] Sum of each row's weights."""
        totals = self.totals
        if totals is None:
            totals = self.numerators @ np.ones(self.numerators.shape[2], np.float32)
        return self.factors * totals

    def without(self, padding: Booleans | None) -> "SoftmaxTile | None":
        """Returns the tile without the rows that are padding; None if no row is left."""
        if padding is None or not padding[self.rows.indices].any():
            return self
        (kept,) = np.nonzero(~padding[self.rows.indices])
        if not len(kept):
            return None
        rows, chosen = Rows(self.rows.indices[kept]), Rows(kept).selector

        def of_rows(values: Floats | None) -> Any:
            return None if values is None else values[:, chosen]

        return SoftmaxTile(
            self.heads,
            rows,
            of_rows(self.numerators),
            of_rows(self.factors),
            of_rows(self.largest_numerators),
            self.mask.only(rows, chosen),
            of_rows(self.logits),
            of_rows(self.largest_logits),
            of_rows(self.sink_shares),
            of_rows(self.totals),
        )

    @np.errstate(all="ignore")
    def weights(self, keys: int) -> Floats:
        """Returns a copy of the weights, [heads, rows, keys], with zeros for the missing keys."""
        weights = np.zeros((*self.factors.shape, keys), np.float32)
        visible = weights[:, :, : self.numerators.shape[2]]
        np.multiply(self.numerators, self.factors[..., None], out=visible)
        return weights


def tile_from_weights(heads: slice, rows: Rows, weights: Floats, mask: MaskTile) -> SoftmaxTile:
    """Returns a tile of weights [heads, rows, keys] that were sent instead of queries and keys."""
    ones = np.ones(weights.shape[:2], np.float32)
    return SoftmaxTile(heads, rows, weights, ones, weights.max(axis=2), mask)


@np.errstate(all="ignore")
def tile_from_logits(
    heads: slice,
    rows: Rows,
    logits: Floats,
    mask: MaskTile,
    sinks: Floats | None,
    out: Floats,
) -> SoftmaxTile:
    """Returns the softmax of logits [heads, rows, keys], which it masks and shifts in place.

    `sinks` [heads] take part in the softmax as one more column, which is then left out. The
    numerators are written to `out`.
    """
    mask.apply_to(logits)
    largest_logits = logits.max(axis=2)
    shift = largest_logits if sinks is None else np.maximum(largest_logits, sinks[:, None])
    logits -= shift[..., None]
    np.exp(logits, out=out)
    totals = out @ np.ones(out.shape[2], np.float32)
    denominators, sink_shares = totals, None
    if sinks is not None:
        sink_numerators = np.exp(sinks[:, None] - shift)
        denominators = totals + sink_numerators
        sink_shares = sink_numerators / denominators
    nothing_allowed = largest_logits < MASKED_LOGIT / 2
    factors = np.where(nothing_allowed, np.float32(0), 1 / denominators)
    largest_numerators = np.exp(largest_logits - shift)
    return SoftmaxTile(
        heads, rows, out, factors, largest_numerators, mask, logits, largest_logits, sink_shares,
        totals,
    )  # fmt: skip
