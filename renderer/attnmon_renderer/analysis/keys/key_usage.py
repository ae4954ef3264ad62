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
        total = self._sums.sum(axis=1)
        found = {
            "coverage": self._coverage(total),
            "largest_key": self._sums.max(axis=1, initial=0) / self._rows,
            "row_residual": self._row_residual(total),
        }
        rounded = np.round(np.stack(list(found.values())), _DIGITS).tolist()
        return dict(zip(found, rounded, strict=True))

    def _coverage(self, total: Doubles) -> Doubles:
        """``mean_j min(1, max(Q, K) · c_j / Σ_j c_j)`` over the K keys that may be attended to.

        Where each key gets one row's weight or more it is 1; where all queries look at one key it
        is 1 / K. It is ``mean_j min(1, c_j)`` where there are as many queries as keys. A first key
        that is a sink is left out: what the heads of large language models put there they do not
        look for. Ours; that all weight on few keys announces divergence is seen by Zhai et al. 2023
        (arXiv 2303.06296).
        """
        sums, seen = self._sums, self._seen
        has_sink = sums[:, :1].sum(axis=1) > SINK_SHARE * self._rows
        if has_sink.any() or not seen.all():
            seen = seen.copy()
            seen[has_sink, :1] = False
            sums = np.where(seen, sums, 0)
            total = sums.sum(axis=1)
        keys = seen.sum(axis=1)
        shares = sums * (np.maximum(self._rows, keys) / total)[:, None]
        coverage = np.minimum(1, shares, out=shares).sum(axis=1) / keys
        return np.where(total >= LEAST_REST * self._rows, coverage, np.nan)

    def _row_residual(self, total: Doubles) -> Doubles:
        """``‖A − 1mᵀ‖ / ‖A‖`` (Frobenius) with ``m`` the mean row: 0 where all rows are alike.

        The residual of Dong et al. 2021 (arXiv 2103.03404), of the weights and not of what they
        mix. ``‖A − 1mᵀ‖² = ‖A‖² − Q ‖m‖²``, so that no second pass is needed.
        """
        norms = self._squares + self._center * (2 * total - self._center * self._entries)
        alike = np.einsum("hk,hk->h", self._sums, self._sums) / self._rows
        return np.asarray(np.sqrt(np.maximum(norms - alike, 0) / norms))
