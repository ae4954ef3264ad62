"""The statistics of one layer's attention.

``A`` is [heads, queries, keys]; each row sums to 1. Queries that are padding (`LayerAttention.
padding`) are left out. Other rows that may attend to no key count as zeros in mean, standard
deviation, minimum and maximum, and not at all in the statistics of heads.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerStatistics:
    """Exact statistics of one layer's attention for one sample; NaN where nothing is defined.

    The names are those of `statistics.json`.
    """

    mean: float
    """Mean of all entries of ``A``, of the queries used."""
    std: float
    """Standard deviation of the population of all entries of ``A``, of the queries used."""
    min: float
    """Smallest weight."""
    max: float
    """Largest weight."""
    heads: dict[str, list[float]]
    """A value per head, by the statistic's name: the means in `HEAD_STATISTICS`, and

    - ``coverage``, ``largest_key``, ``row_residual``: see `KeyUsage`.
    - ``padding_mass``: what the padding gets of a real query's attention, in the mean; only where
      it is known which keys are padding.
    - ``max_logit``: the largest logit that enters the softmax at an allowed key; NaN where only
      the weights are known. Dehghani et al. 2023 (arXiv 2302.05442), Wortsman et al. 2023
      (arXiv 2309.14322): its growth announces divergence.
    """
    row_sum_error: float
    """Largest deviation of a row's sum from 1, less what a sink took. Weights that were sent as
    they are may not be a softmax; this shows it."""
    non_finite: int
    """Number of weights that are NaN or infinite."""
    queries_used: int | None
    """Number of evenly spaced queries that were used; None if all were."""
    future_mass: float | None = None
    """What later keys get of a query's attention, in the mean, where a decoder's layer attends to
    itself; None elsewhere."""
    ahead: int | None = None
    """As in `Reach`, and so is the next; None where the layer does not attend to itself."""
    sees_all: bool = False
    scale: float | None = None
    """Factor of query · key; None where only weights are known, and so are the next two."""
    width: int | None = None
    """Of a query."""
    normed: bool | None = None
    """Whether queries and keys have one length each, as where they are normalised (QK-norm)."""
    softcap: float = 0.0
    """What logits cannot exceed; 0 where nothing limits them."""
