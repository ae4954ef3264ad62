"""How far the attention of two heads is apart, on the same text.

``D(i, j) = 1/|Q| Σ_q JSD(A_i[q], B_j[q])`` with the Jensen–Shannon divergence in bits, from 0 to 1:
Clark et al. 2019 (arXiv 1906.04341), who sum over the tokens where this takes the mean.

Cells that stand for several positions make it smaller, never larger: keys by the data processing
inequality, queries since the divergence is jointly convex. So of pooled maps it is a lower bound.
"""

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles, Floats

_TINY = np.float32(1e-37)


class RowDistributions:
    """The maps of a layer's heads, ready to be compared: each row sums to 1."""

    def __init__(self, weights: Floats, counts: Doubles | None = None) -> None:
        """Normalize the rows; one without any weight counts in no distance.

        Args:
            weights: [heads, rows, keys]
            counts: [rows] How many queries each stands for; one by default.
        """
        sums = weights.sum(-1, dtype=np.float64)
        has_row = np.isfinite(sums) & (sums > 0)
        self.counts = np.where(has_row, 1.0 if counts is None else counts, 0.0)
        """[heads, rows] How many queries a row counts for."""
        divisors = np.where(has_row, sums, 1.0).astype(np.float32)
        kept = np.where(has_row[..., None], weights, np.float32(0))
        self.weights: Floats = np.divide(kept, divisors[..., None], dtype=np.float32)
        self.entropies = _entropies(self.weights)
        """[heads, rows] In bits."""


def all_distances(a: RowDistributions, b: RowDistributions) -> Doubles:
    """Return [heads of a, heads of b], the distance of each to each; NaN where no query has one."""
    return np.array([_distances_to(a, head, b) for head in range(len(a.weights))])


def numbered_distances(a: RowDistributions, b: RowDistributions) -> Doubles:
    """Return [heads], the distance of each head to the one of the same number."""
    middle = _entropies(_middle(a.weights, b.weights))
    divergences = middle - _middle(a.entropies, b.entropies)
    return _mean_over_queries(divergences, np.minimum(a.counts, b.counts))


def _distances_to(a: RowDistributions, head: int, b: RowDistributions) -> Doubles:
    middle = _entropies(_middle(a.weights[head], b.weights))
    divergences = middle - _middle(a.entropies[head], b.entropies)
    return _mean_over_queries(divergences, np.minimum(a.counts[head], b.counts))


def _middle(a: Floats, b: Floats) -> Floats:
    middle = a + b
    middle *= np.float32(0.5)
    return middle


def _mean_over_queries(divergences: Floats, counts: Doubles) -> Doubles:
    total = counts.sum(-1)
    used = (np.clip(divergences, 0, 1) * counts).sum(-1)
    return np.where(total > 0, used / np.maximum(total, 1), np.nan)


def _entropies(weights: Floats) -> Floats:
    """Return −Σ w log₂ w over the keys; 0 log 0 is 0."""
    terms = np.log2(weights + _TINY)
    terms *= weights
    entropies: Floats = -terms.sum(-1)
    return entropies
