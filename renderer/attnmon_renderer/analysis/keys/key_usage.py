"""What each key gets of a layer's attention: the sums of the columns, and what follows from them.

``A`` is [heads, queries, keys], of the queries that count; ``c_j = Σ_i A_ij`` is what key j gets of
all ``Q`` of them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon.link.summaries.summary_parts import SINK_SHARE

LEAST_REST = 1e-3
"""Of a row, in the mean: where all keys but a sink get less together, nothing is said of them."""
_DIGITS = 6

Doubles = npt.NDArray[np.float64]


def round_numbers(found: Mapping[str, Doubles]) -> dict[str, Doubles]:
    """Round numbers to the digits that sums of float32 have."""
    return {name: np.round(values, _DIGITS) for name, values in found.items()}


class KeyUsage:
    """Sums over the tiles of a layer, in any order, for each of its heads."""

    def __init__(self, heads: int, keys: int, center: float) -> None:
        """`center`: what squares are taken of the difference to."""
        self._sums = np.zeros((heads, keys))
        self._seen = np.zeros((heads, keys), np.bool_)
        self._rows, self._entries, self._squares = np.zeros((3, heads))
        self._center = center

    def add(
        self,
        heads: slice,
        factors: npt.NDArray[Any],
        numerators: npt.NDArray[Any],
        attends: npt.NDArray[np.bool_],
        seen: npt.NDArray[np.bool_],
    ) -> None:
        """Add a tile of weights ``factors[h, r] · numerators[h, r, k]`` of the first keys.

        Args:
            attends: [heads, rows] Which rows may attend to any key.
            seen: [1 or heads, keys] Which keys any of the rows may attend to.
        """
        keys = numerators.shape[2]
        self._sums[heads, :keys] += np.matmul(factors[:, None], numerators)[:, 0]
        self._seen[heads, :keys] |= seen
        self._rows[heads] += attends.sum(axis=1)

    def add_squares(self, heads: slice, squares: Doubles, entries: int) -> None:
        """Add the sums of squared differences to the center, of so many entries each head."""
        self._squares[heads] += squares
        self._entries[heads] += entries

    @property
    def squares(self) -> Doubles:
        """[heads] The sums of squared differences to the center."""
        return self._squares

    @np.errstate(all="ignore")
    def numbers(self) -> dict[str, list[float]]:
        """Return each head's numbers by name; NaN where nothing is defined."""
        found = {
            "coverage": self._coverage(),
            "largest_key": self._sums.max(axis=1, initial=0) / self._rows,
            "row_residual": self._row_residual(),
        }
        return {name: values.tolist() for name, values in round_numbers(found).items()}

    def _coverage(self) -> Doubles:
        """``mean_j min(1, max(Q, K) · c_j / Σ_j c_j)`` over the K keys that may be attended to.

        Where each key gets one row's weight or more it is 1; where all queries look at one key it
        is 1 / K. It is ``mean_j min(1, c_j)`` where there are as many queries as keys. A first key
        that is a sink is left out: what the heads of large language models put there they do not
        look for. Ours; that all weight on few keys announces divergence is seen by Zhai et al. 2023
        (arXiv 2303.06296).
        """
        counted = self._seen.copy()
        has_sink = self._sums[:, :1].sum(axis=1) > SINK_SHARE * self._rows
        counted[has_sink, :1] = False
        sums = np.where(counted, self._sums, 0)
        total, keys = sums.sum(axis=1), counted.sum(axis=1)
        most = np.maximum(self._rows, keys)
        shares = np.minimum(1, sums * (most / total)[:, None])
        coverage = np.where(counted, shares, 0).sum(axis=1) / keys
        return np.where(total >= LEAST_REST * self._rows, coverage, np.nan)

    def _row_residual(self) -> Doubles:
        """``‖A − 1mᵀ‖ / ‖A‖`` (Frobenius) with ``m`` the mean row: 0 where all rows are alike.

        The residual of Dong et al. 2021 (arXiv 2103.03404), of the weights and not of what they
        mix. ``‖A − 1mᵀ‖² = ‖A‖² − Q ‖m‖²``, so that no second pass is needed.
        """
        total = self._sums.sum(axis=1)
        norms = self._squares + self._center * (2 * total - self._center * self._entries)
        alike = (self._sums**2).sum(axis=1) / self._rows
        return np.asarray(np.sqrt(np.maximum(norms - alike, 0) / norms))
