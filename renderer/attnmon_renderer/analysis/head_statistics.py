"""The statistics of a head: each is the mean, over the head's rows, of one number per row.

``A`` is [heads, queries, keys]; each row sums to 1. ``H_i = −Σ_j A_ij ln A_ij`` is the entropy of
row i and ``n_i`` the number of keys it may attend to. ``p_i`` is the key position that corresponds
to query i: i itself, behind the keys of a prefix or a cache if there are any, or ``i · keys /
queries`` when the two sequences differ in length and the mask is not causal.

To add a statistic, write its function and enter it in `HEAD_STATISTICS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Doubles, Floats, Integers
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile

RowValues = npt.NDArray[np.floating[Any]]
"""[heads, rows]"""


@dataclass(frozen=True, slots=True)
class TileRows:
    """The rows of one tile, with intermediate results that several statistics need."""

    tile: SoftmaxTile
    sums: RowValues
    """[heads, rows] Sum of each row's weights."""
    entropies: RowValues
    """[heads, rows] ``H_i`` in nats."""
    allowed_keys: Integers
    """[1 or heads, 1 or rows] ``n_i``."""
    key_positions: Doubles
    """[rows] ``p_i``."""
    distances: Floats
    """[rows, keys] ``|p_i − j|``."""


def effective_keys(rows: TileRows) -> RowValues:
    """``exp H_i``, the perplexity (Jelinek et al. 1977): over how many keys a row spreads."""
    return np.exp(rows.entropies)


def first_token(rows: TileRows) -> RowValues:
    """``A_i0``, the attention sink of Xiao et al. 2023 (arXiv 2309.17453).

    Also the importance score of the first key in Gu et al. 2024 (arXiv 2410.10781), who speak of a
    sink above 0.3.
    """
    return rows.tile.factors * rows.tile.numerators[:, :, 0]


def distance(rows: TileRows) -> RowValues:
    """``Σ_j A_ij |p_i − j|``, in keys.

    The mean attention distance of Dosovitskiy et al. 2020 (arXiv 2010.11929), figure 7.
    """
    sums = np.einsum("hrk,rk->hr", rows.tile.numerators, rows.distances)
    return np.asarray(rows.tile.factors * sums)


def diagonal(rows: TileRows) -> RowValues:
    """``A_ij`` at the key nearest to ``p_i``: attention to itself, or how diagonal an alignment is.

    The diagonal is that of Tachibana et al. 2017 (arXiv 1710.08969).
    """
    numerators = rows.tile.numerators
    nearest = np.clip(np.rint(rows.key_positions).astype(int), 0, numerators.shape[2] - 1)
    return rows.tile.factors * numerators[:, np.arange(len(nearest)), nearest]


def entropy(rows: TileRows) -> RowValues:
    """``H_i / ln n_i``: 1 is uniform, 0 is all on one key.

    Zhai et al. 2023 (arXiv 2303.06296) take it per head as the measure of entropy collapse.
    """
    return rows.entropies / np.log(rows.allowed_keys)


@dataclass(frozen=True, slots=True)
class HeadStatistic:
    """A statistic of each head: the mean of `of_rows` over the rows that count."""

    of_rows: Callable[[TileRows], RowValues]
    least_keys: int = 1
    """A row counts if it may attend to this many keys or more."""


HEAD_STATISTICS = {
    "effective_keys": HeadStatistic(effective_keys),
    "first_token": HeadStatistic(first_token),
    "distance": HeadStatistic(distance),
    "diagonal": HeadStatistic(diagonal),
    "entropy": HeadStatistic(entropy, least_keys=2),
}
"""By the name in `LayerStatistics.heads`, in the order of the JSON."""
