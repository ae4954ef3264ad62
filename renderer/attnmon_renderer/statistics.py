"""What the attention of one layer is like, in numbers: one pass over its tiles.

``A`` is [heads, queries, keys]; each row sums to 1. ``H_i = −Σ_j A_ij ln A_ij`` is the entropy of
row i and ``n_i`` the number of keys it may attend to. Rows that may attend to none (padding) count
as zeros in mean, standard deviation, minimum and maximum, and not at all in what is said of heads.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.arrays import Booleans, Doubles, Floats, Integers, Rows
from attnmon_renderer.attention import LayerAttention
from attnmon_renderer.tile import Tile

Rowwise = npt.NDArray[np.floating[Any]]  # [heads, rows]

NARROW = 128
"""With this many keys or fewer, squares are summed in double precision: the mean weight is then so
large that float32 would show in the fifth decimal of the standard deviation. It costs little."""


@dataclass(frozen=True)
class LayerStatistics:
    """Exact statistics of one layer's attention of one sample. NaN where nothing is defined."""

    mean: float
    std: float
    """Of the population: all entries of [heads, queries used, keys]."""
    min: float
    max: float
    heads: dict[str, list[float]]
    """Per head, means over the queries:

    - ``entropy``: ``H_i / ln n_i`` where ``n_i > 1``. 1 is uniform, 0 is all on one key.
      Zhai et al. 2023 (arXiv 2303.06296) take it per head as the measure of entropy collapse.
    - ``effective_keys``: ``exp H_i``, how many keys it spreads over; 1 is a single one.
      The perplexity of the row, the exponential of the entropy above.
    - ``max_logit``: the largest logit that enters the softmax at an allowed key; NaN where the
      weights alone are known. Dehghani et al. 2023 (arXiv 2302.05442), Wortsman et al. 2023
      (arXiv 2309.14322): its growth announces divergence.
    - ``first_token``: ``A_i0``, the attention sink of Xiao et al. 2023 (arXiv 2309.17453); Gu et
      al. 2024 (arXiv 2410.10781), equation for the importance score of the first key.
    - ``distance``: ``Σ_j A_ij |p_i − j|``, in keys; the mean attention distance of Dosovitskiy et
      al. 2020 (arXiv 2010.11929), figure 7. ``p_i`` is i, or ``i · keys / queries`` when the two
      sequences differ in length.
    - ``diagonal``: ``A_ij`` at the key nearest to ``p_i``: how far a head attends to itself, or how
      diagonal an alignment is (the diagonal of Tachibana et al. 2017, arXiv 1710.08969).
    """
    row_sum_error: float
    """The largest deviation of a row's sum from 1 (less what went to a sink): of weights that were
    sent as they are, whether they are a softmax at all."""
    non_finite: int
    """How many weights are NaN or infinite."""
    queries_used: int | None
    """None: all; otherwise the number of evenly spaced queries that all of this was taken from."""

    def to_json(self) -> dict[str, Any]:
        """Plain Python for strict JSON: what is NaN or infinite is None."""
        return {
            "mean": _finite(self.mean),
            "std": _finite(self.std),
            "min": _finite(self.min),
            "max": _finite(self.max),
            "heads": {name: [_finite(x) for x in values] for name, values in self.heads.items()},
            "row_sum_error": _finite(self.row_sum_error),
            "non_finite": self.non_finite,
            "queries_used": self.queries_used,
        }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


MEANS = ("effective_keys", "first_token", "distance", "diagonal")


class StatisticsPass:
    """Takes in a layer's tiles one by one and ends with its `LayerStatistics`."""

    def __init__(self, layer: LayerAttention) -> None:
        heads = layer.shape[0]
        self._layer = layer
        self._entries = 0
        self._sum = self._sum_of_squares = self._row_sum_error = 0.0
        self._min, self._max = math.inf, -math.inf
        self._non_finite = 0
        self._rows, self._rows_with_choice = np.zeros(heads), np.zeros(heads)
        self._means, self._entropy = np.zeros((len(MEANS), heads)), np.zeros(heads)
        self._max_logit = np.full(heads, -math.inf)
        self._distances: tuple[Rows, Floats] | None = None

    @np.errstate(all="ignore")
    def add(self, tile: Tile) -> None:
        """Count in a tile. Each entry of the layer is to come once, or its rows not at all."""
        numerators, factors = tile.numerators, tile.factors
        if self._layer.shape[2] <= NARROW:
            numerators, factors = numerators.astype(np.float64), factors.astype(np.float64)
        sums = factors * (numerators @ np.ones(numerators.shape[2], numerators.dtype))
        squares = factors**2 * np.einsum("hrk,hrk->hr", numerators, numerators)
        self._add_entries(tile, sums, squares)
        choices = tile.allowed_keys
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

    def _add_entries(self, tile: Tile, sums: Rowwise, squares: Rowwise) -> None:
        keys = self._layer.shape[2]
        self._entries += sums.size * keys
        self._sum += float(sums.sum(dtype=np.float64))
        self._sum_of_squares += float(squares.sum(dtype=np.float64))
        hidden = tile.numerators.shape[2] < keys
        smallest = 0.0 if hidden else (tile.factors * tile.numerators.min(axis=2)).min()
        self._min = np.minimum(self._min, smallest)
        self._max = np.maximum(self._max, (tile.factors * tile.tops).max())

    def _add_row_sums(self, tile: Tile, sums: Rowwise, attends: Booleans) -> None:
        expected = 1 if tile.to_sink is None else 1 - tile.to_sink
        errors = np.where(attends, abs(sums - expected), 0)
        self._row_sum_error = max(self._row_sum_error, float(np.fmax.reduce(errors, axis=None)))
        if not np.isfinite(sums).all():
            weights = tile.weights(tile.numerators.shape[2])
            self._non_finite += int(weights.size - np.isfinite(weights).sum())

    def _add_entropies(self, heads: slice, entropies: Rowwise, choices: Integers) -> None:
        chooses = np.broadcast_to(choices > 1, entropies.shape)
        self._entropy[heads] += _sum_rows(entropies / np.log(choices), chooses)
        self._rows_with_choice[heads] += chooses.sum(axis=1)

    def _places(self, tile: Tile) -> tuple[Rowwise, Rowwise, Rowwise]:
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
    def result(self, queries_used: int | None = None) -> LayerStatistics:
        """The statistics of all tiles so far; NaN where there was none."""
        heads = dict(zip(MEANS, (self._means / self._rows).tolist(), strict=True))
        heads["entropy"] = (self._entropy / self._rows_with_choice).tolist()
        known = ~np.isneginf(self._max_logit)
        heads["max_logit"] = np.where(known, self._max_logit, np.nan).tolist()
        entries = np.float64(self._entries)
        mean = self._sum / entries
        variance = np.maximum(self._sum_of_squares / entries - mean**2, 0)
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


def _entropies(tile: Tile, sums: Rowwise) -> Rowwise:
    """[heads, rows] −Σ_j A_ij ln A_ij, where ln A_ij is the logit less the log of the row's total.

    It needs no logarithm of each weight (the identity behind Milakov and Gimelshein 2018, arXiv
    1805.02867); only where no logits are known are the weights' own logarithms taken.
    """
    if tile.logits is None:
        logarithms = np.log(np.maximum(tile.numerators, np.finfo(np.float32).tiny))
        return np.asarray(-np.einsum("hrk,hrk->hr", tile.numerators, logarithms))
    log_totals = np.where(tile.factors == 0, 0, -np.log(tile.factors))
    products = np.einsum("hrk,hrk->hr", tile.numerators, tile.logits)
    return np.asarray(sums * log_totals - tile.factors * products)


def _sum_rows(values: Rowwise, counted: Booleans) -> Doubles:
    """[…, heads] the sums over the rows that count."""
    return np.asarray(np.where(counted, values, 0).sum(axis=-1, dtype=np.float64))
