"""The mean of ratios, and how sure it is."""

from collections.abc import Sequence

import numpy as np


def geometric_mean(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(ratios, 1e-3)))))


def bootstrap(ratios: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the geometric mean."""
    rng = np.random.default_rng(0)
    samples = rng.choice(np.log(np.maximum(ratios, 1e-3)), (draws, len(ratios)))
    low, high = np.exp(np.percentile(samples.mean(axis=1), [2.5, 97.5]))
    return float(low), float(high)
