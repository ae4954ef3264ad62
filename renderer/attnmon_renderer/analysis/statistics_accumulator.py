"""The statistics of a layer, accumulated tile by tile."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Doubles, Floats, Rows
from attnmon_renderer.analysis.head_statistics import HEAD_STATISTICS, RowValues, TileRows
from attnmon_renderer.analysis.keys.key_usage import KeyUsage
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile

NARROW = 128
"""With at most this many keys, squares are taken in float64 of the difference to the mean weight.
That weight is then so large that float32 would show in the fifth decimal of the standard
deviation."""
_NAMES = (*HEAD_STATISTICS, "max_logit")


class StatisticsAccumulator:
    """Sums over the tiles of a layer, in any order, from which its statistics are computed.

    Args:
        joined: how many layers there are in `layer`, with equally many heads each. Of more than
            one, each tile has all heads.
    """

    def __init__(self, layer: LayerAttention, joined: int = 1) -> None:
        heads, _, keys = layer.shape
        self._layer, self._joined = layer, joined
        self._entries = 0
        """Of each of the joined layers; what follows is an array of them."""
        self._sum, self._row_sum_error = np.zeros((2, joined))
        self._center = 1 / keys if 0 < keys <= NARROW else 0.0
        self._usage = KeyUsage(heads, keys, self._center)
        self._future, self._padding_mass, self._real_rows = np.zeros((3, heads))
        self._min, self._max = np.full(joined, math.inf), np.full(joined, -math.inf)
        self._non_finite = np.zeros(joined, np.intp)
        self._row_counts = np.zeros((len(HEAD_STATISTICS), heads))
        self._row_sums = np.zeros((len(HEAD_STATISTICS), heads))
        self._max_logit = np.full(heads, -math.inf)
        self._positions: tuple[Rows, Doubles, Floats] | None = None

    @np.errstate(all="ignore")
    def add(self, tile: SoftmaxTile) -> None:
        """Add a tile. A row may be left out, but only for all heads alike."""
        rows = self._rows_of(tile)
        self._add_entries(tile, rows.sums)
        attends = np.broadcast_to(rows.allowed_keys > 0, rows.sums.shape)
        self._usage.add(tile.heads, tile.factors, tile.numerators, attends, tile.mask.seen_keys)
        self._add_row_sum_errors(tile, rows.sums, attends)
        self._add_misplaced(tile)
        self._add_head_statistics(rows)
        if tile.largest_logits is not None:
            largest = np.where(attends, tile.largest_logits, -np.inf).max(axis=1)
            np.maximum(self._max_logit[tile.heads], largest, out=self._max_logit[tile.heads])

    def _rows_of(self, tile: SoftmaxTile) -> TileRows:
        keys = tile.numerators.shape[2]
        sums = tile.sums
        return TileRows(
            tile,
            sums,
            _entropies(tile, sums),
            tile.mask.allowed_keys,
            *self._positions_of(tile.rows, keys),
        )

    def _positions_of(self, rows: Rows, keys: int) -> tuple[Doubles, Floats]:
        """Returns key positions [rows] and distances [rows, keys].

        They are the same for all heads, so they are computed once for the tiles of the same rows.
        """
        if self._positions is None or self._positions[0] is not rows:
            positions = self._layer.key_positions(rows)
            column = positions.astype(np.float32)[:, None]
            distances = column - np.arange(keys, dtype=np.float32)
            self._positions = rows, positions, np.abs(distances, out=distances)
        return self._positions[1:]

    def _add_entries(self, tile: SoftmaxTile, sums: RowValues) -> None:
        keys = self._layer.shape[2]
        self._entries += sums.size * keys // self._joined
        self._sum += self._by_layer(sums).sum(axis=1, dtype=np.float64)
        entries = sums.shape[1] * keys
        self._usage.add_squares(tile.heads, self._sums_of_squares(tile), entries)
        if tile.numerators.shape[2] < keys:
            self._min = np.minimum(self._min, 0.0)
        else:
            smallest = tile.factors * tile.numerators.min(axis=2)
            self._min = np.minimum(self._min, self._by_layer(smallest).min(axis=1))
        largest = tile.factors * tile.largest_numerators
        self._max = np.maximum(self._max, self._by_layer(largest).max(axis=1))

    def _by_layer(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values [heads, …] as [joined layers, values of each]."""
        return values.reshape(self._joined, -1)

    def _sums_of_squares(self, tile: SoftmaxTile) -> Doubles:
        """Returns each head's sum of the squared differences to `self._center`."""
        if not self._center:
            squares = np.einsum("hrk,hrk->hr", tile.numerators, tile.numerators)
            squares *= tile.factors**2
            return np.asarray(squares.sum(axis=1, dtype=np.float64))
        differences = tile.weights(self._layer.shape[2]).astype(np.float64) - self._center
        return np.array([np.vdot(each, each) for each in differences])

    def _add_misplaced(self, tile: SoftmaxTile) -> None:
        """Add what lies on later keys, and what real queries give to padding."""
        keys = tile.numerators.shape[2]
        if self._layer.is_own_future and self._layer.reach.ahead != 0:
            places = self._layer.key_positions(tile.rows)
            later = (np.arange(keys) > places[:, None]).astype(np.float32)
            sums = tile.factors * np.einsum("hrk,rk->hr", tile.numerators, later)
            self._future[tile.heads] += sums.sum(axis=1, dtype=np.float64)
        queries, padding = self._layer.declared
        if padding is not None:
            real = np.ones(len(tile.rows)) if queries is None else ~queries[tile.rows.indices]
            self._real_rows[tile.heads] += np.where(real, tile.factors > 0, 0).sum(axis=1)
            seen = padding[:keys] & tile.mask.seen_keys.any(axis=0)
            if seen.any():  # where the mask hides all padding, there is none to sum up
                given = tile.factors * (tile.numerators @ seen.astype(np.float32))
                self._padding_mass[tile.heads] += (np.where(real, given, 0)).sum(axis=1)

    def _add_row_sum_errors(self, tile: SoftmaxTile, sums: RowValues, attends: Booleans) -> None:
        expected = 1 if tile.sink_shares is None else 1 - tile.sink_shares
        finite = np.isfinite(sums)
        errors = np.where(attends & finite, abs(sums - expected), 0)
        self._row_sum_error = np.maximum(self._row_sum_error, self._by_layer(errors).max(axis=1))
        if not finite.all():
            weights = self._by_layer(tile.weights(tile.numerators.shape[2]))
            self._non_finite += weights.shape[1] - np.isfinite(weights).sum(axis=1)

    def _add_head_statistics(self, rows: TileRows) -> None:
        heads = rows.tile.heads
        for index, statistic in enumerate(HEAD_STATISTICS.values()):
            counted = np.broadcast_to(rows.allowed_keys >= statistic.least_keys, rows.sums.shape)
            values = np.where(counted, statistic.of_rows(rows), 0)
            self._row_sums[index, heads] += values.sum(axis=1, dtype=np.float64)
            self._row_counts[index, heads] += counted.sum(axis=1)

    @np.errstate(all="ignore")
    def statistics(self, queries_used: int | None = None) -> list[LayerStatistics]:
        """Returns the statistics of each layer of all tiles added so far; NaN if there was none."""
        means = self._row_sums / self._row_counts
        max_logit = np.where(np.isneginf(self._max_logit), np.nan, self._max_logit)
        if (seen := self._layer.seen_logits) is not None:
            max_logit = seen
        numbers = np.vstack([means, max_logit]).reshape(len(_NAMES), self._joined, -1)
        added = {name: np.reshape(v, (self._joined, -1)) for name, v in self._added().items()}
        entries = np.float64(self._entries)
        mean = self._sum / entries
        squares = self._by_layer(self._usage.squares).sum(axis=1)
        variance = np.maximum(squares / entries - (mean - self._center) ** 2, 0)
        future = self._by_layer(self._future).sum(axis=1) * self._layer.shape[2] / entries
        structure = _structure(self._layer)
        std, empty = np.sqrt(variance), not self._entries
        return [
            LayerStatistics(
                mean=float(mean[index]),
                std=float(std[index]),
                min=math.nan if empty else float(self._min[index]),
                max=math.nan if empty else float(self._max[index]),
                heads={
                    **dict(zip(_NAMES, numbers[:, index].tolist(), strict=True)),
                    **{name: values[index].tolist() for name, values in added.items()},
                },
                row_sum_error=float(self._row_sum_error[index]),
                non_finite=int(self._non_finite[index]),
                queries_used=queries_used,
                future_mass=float(future[index]) if self._layer.is_own_future else None,
                normed=normed,
                **structure,
            )
            for index, normed in enumerate(self._layer.normed_parts())
        ]

    def _added(self) -> dict[str, Any]:
        """Return each head's numbers about keys, by name."""
        found: dict[str, Any] = self._usage.numbers()
        if self._layer.declared.keys is not None:
            found["padding_mass"] = self._padding_mass / self._real_rows
        return found


def _structure(layer: LayerAttention) -> dict[str, Any]:
    """Return what the mask and the logits of all joined layers are like."""
    ahead, sees_all = layer.reach
    attention = layer.attention
    known = attention.query is not None
    return {
        "ahead": ahead,
        "sees_all": sees_all,
        "scale": attention.scale if known else None,
        "width": attention.query.shape[2] if attention.query is not None else None,
        "softcap": attention.softcap,
    }


def _entropies(tile: SoftmaxTile, sums: RowValues) -> RowValues:
    """Returns −Σ_j A_ij ln A_ij, [heads, rows].

    ln A_ij is the logit less the logarithm of the row's denominator, so no logarithm of each weight
    is needed (the entropy of a Gibbs distribution). Only where the logits are not known are those
    logarithms taken.
    """
    if tile.logits is None:
        logarithms = np.log(np.maximum(tile.numerators, np.finfo(np.float32).tiny))
        return np.asarray(-np.einsum("hrk,hrk->hr", tile.numerators, logarithms))
    products = np.einsum("hrk,hrk->hr", tile.numerators, tile.logits)
    return np.asarray(-sums * np.log(tile.factors) - tile.factors * products)
