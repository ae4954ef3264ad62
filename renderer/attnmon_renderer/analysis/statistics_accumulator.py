"""The statistics of a layer, gathered tile by tile."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Doubles, Floats, Integers, Rows
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile

Rowwise = npt.NDArray[np.floating[Any]]  # [heads, rows]

NARROW = 128
"""With this many keys or fewer, squares are taken in float64 of the difference to the mean weight,
which is then so large that float32 would show in the fifth decimal of the standard deviation."""

MEANS = ("effective_keys", "first_token", "distance", "diagonal")


class StatisticsAccumulator:
    """Takes in a layer's tiles one by one, in any order, and gives its statistics."""

    def __init__(self, layer: LayerAttention) -> None:
        heads, _, keys = layer.shape
        self._layer = layer
        self._entries = 0
        self._sum = self._squares = self._row_sum_error = 0.0
        self._center = 1 / keys if 0 < keys <= NARROW else 0.0
        self._min, self._max = math.inf, -math.inf
        self._non_finite = 0
        self._rows, self._rows_with_choice = np.zeros(heads), np.zeros(heads)
        self._means, self._entropy = np.zeros((len(MEANS), heads)), np.zeros(heads)
        self._max_logit = np.full(heads, -math.inf)
        self._distances: tuple[Rows, Floats] | None = None

    @np.errstate(all="ignore")
    def add(self, tile: SoftmaxTile) -> None:
        """Count a tile in. Rows may be left out, but then for all heads."""
        sums = tile.factors * (tile.numerators @ np.ones(tile.numerators.shape[2], np.float32))
        self._add_entries(tile, sums)
        choices = tile.mask.allowed_keys
        attends = np.broadcast_to(choices > 0, sums.shape)
        self._add_row_sums(tile, sums, attends)
        entropies = _entropies(tile, sums)
        self._add_entropies(tile.heads, entropies, choices)
        self._rows[tile.heads] += attends.sum(axis=1)
        measures = (np.exp(entropies), *self._places(tile))
        self._means[:, tile.heads] += _sum_rows(np.stack(measures), attends)
        if tile.peaks is not None:
            peaks = np.where(attends, tile.peaks, -np.inf).max(axis=1)
            np.maximum(self._max_logit[tile.heads], peaks, out=self._max_logit[tile.heads])

    def _add_entries(self, tile: SoftmaxTile, sums: Rowwise) -> None:
        keys = self._layer.shape[2]
        self._entries += sums.size * keys
        self._sum += float(sums.sum(dtype=np.float64))
        self._squares += self._sum_of_squares(tile)
        hidden = tile.numerators.shape[2] < keys
        smallest = 0.0 if hidden else (tile.factors * tile.numerators.min(axis=2)).min()
        self._min = np.minimum(self._min, smallest)
        self._max = np.maximum(self._max, (tile.factors * tile.tops).max())

    def _sum_of_squares(self, tile: SoftmaxTile) -> float:
        """Of the differences to `self._center`."""
        if not self._center:
            squares = np.einsum("hrk,hrk->hr", tile.numerators, tile.numerators)
            return float((tile.factors**2 * squares).sum(dtype=np.float64))
        differences = tile.weights(self._layer.shape[2]).astype(np.float64) - self._center
        return float(np.vdot(differences, differences))

    def _add_row_sums(self, tile: SoftmaxTile, sums: Rowwise, attends: Booleans) -> None:
        expected = 1 if tile.to_sink is None else 1 - tile.to_sink
        finite = np.isfinite(sums)
        errors = np.where(attends & finite, abs(sums - expected), 0)
        self._row_sum_error = max(self._row_sum_error, float(errors.max()))
        if not finite.all():
            weights = tile.weights(tile.numerators.shape[2])
            self._non_finite += int(weights.size - np.isfinite(weights).sum())

    def _add_entropies(self, heads: slice, entropies: Rowwise, choices: Integers) -> None:
        chooses = np.broadcast_to(choices > 1, entropies.shape)
        self._entropy[heads] += _sum_rows(entropies / np.log(choices), chooses)
        self._rows_with_choice[heads] += chooses.sum(axis=1)

    def _places(self, tile: SoftmaxTile) -> tuple[Rowwise, Rowwise, Rowwise]:
        """Mass on the first key, mean distance and mass on the diagonal; [heads, rows] each."""
        numerators, factors = tile.numerators, tile.factors
        positions = self._layer.positions(tile.rows)
        nearest = np.clip(np.rint(positions).astype(int), 0, numerators.shape[2] - 1)
        distances = self._distances_of(tile.rows, positions, numerators.shape[2])
        return (
            factors * numerators[:, :, 0],
            factors * np.einsum("hrk,rk->hr", numerators, distances),
            factors * numerators[:, np.arange(len(nearest)), nearest],
        )

    def _distances_of(self, rows: Rows, positions: Doubles, keys: int) -> Floats:
        """[rows, keys] how far apart they are; the same for all heads, so made once."""
        if self._distances is None or self._distances[0] is not rows:
            places = positions.astype(np.float32)[:, None]
            distances = places - np.arange(keys, dtype=np.float32)
            self._distances = rows, np.abs(distances, out=distances)
        return self._distances[1]

    @np.errstate(all="ignore")
    def statistics(self, queries_used: int | None = None) -> LayerStatistics:
        """The statistics of all tiles so far; NaN where there was none."""
        heads = dict(zip(MEANS, (self._means / self._rows).tolist(), strict=True))
        heads["entropy"] = (self._entropy / self._rows_with_choice).tolist()
        known = ~np.isneginf(self._max_logit)
        heads["max_logit"] = np.where(known, self._max_logit, np.nan).tolist()
        entries = np.float64(self._entries)
        mean = self._sum / entries
        variance = np.maximum(self._squares / entries - (mean - self._center) ** 2, 0)
        empty = not self._entries
        return LayerStatistics(
            mean=float(mean),
            std=float(np.sqrt(variance)),
            min=math.nan if empty else float(self._min),
            max=math.nan if empty else float(self._max),
            heads=heads,
            row_sum_error=self._row_sum_error,
            non_finite=self._non_finite,
            queries_used=queries_used,
        )


def _entropies(tile: SoftmaxTile, sums: Rowwise) -> Rowwise:
    """[heads, rows] −Σ_j A_ij ln A_ij

    ln A_ij is the logit less the logarithm of the row's total, so the sum needs no logarithm of
    each weight (the entropy of a Gibbs distribution). Only without logits are those taken.
    """
    if tile.logits is None:
        logarithms = np.log(np.maximum(tile.numerators, np.finfo(np.float32).tiny))
        return np.asarray(-np.einsum("hrk,hrk->hr", tile.numerators, logarithms))
    products = np.einsum("hrk,hrk->hr", tile.numerators, tile.logits)
    return np.asarray(-sums * np.log(tile.factors) - tile.factors * products)


def _sum_rows(values: Rowwise, counted: Booleans) -> Doubles:
    """[…, heads] the sums over the rows that count."""
    return np.asarray(np.where(counted, values, 0).sum(axis=-1, dtype=np.float64))
