"""What the attention of one layer is like, in numbers.

``A`` is [heads, queries, keys]; each row sums to 1. ``H_i = −Σ_j A_ij ln A_ij`` is the entropy of
row i and ``n_i`` the number of keys it may attend to. Rows that may attend to none (padding) count
as zeros in mean, standard deviation, minimum and maximum, and not at all in what is said of heads.
"""

import math
from dataclasses import dataclass
from typing import Any


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
    - ``effective_keys``: ``exp H_i``, the perplexity (Jelinek et al. 1977) of the row: how many
      keys it spreads over.
    - ``max_logit``: the largest logit that enters the softmax at an allowed key; NaN where the
      weights alone are known. Dehghani et al. 2023 (arXiv 2302.05442), Wortsman et al. 2023
      (arXiv 2309.14322): its growth announces divergence.
    - ``first_token``: ``A_i0``, the attention sink of Xiao et al. 2023 (arXiv 2309.17453); the
      importance score of the first key in Gu et al. 2024 (arXiv 2410.10781), a sink above 0.3.
    - ``distance``: ``Σ_j A_ij |p_i − j|``, in keys; the mean attention distance of Dosovitskiy et
      al. 2020 (arXiv 2010.11929), figure 7. ``p_i`` is i, or ``i · keys / queries`` when the two
      sequences differ in length and the mask is not causal.
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
