"""Which keys a query may attend to, and what is added to its logits: bias and causality."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.arrays import Booleans, Floats, Rows, to_float32

FORBIDDEN = np.float32(-1e38)
"""Stands for a bias of −∞. Its exponential is 0 too, but 0 · FORBIDDEN is 0, not NaN."""

LOWEST = np.float32(-1e37)
"""Finite biases are raised to this: apart from FORBIDDEN, and sums of all of them stay finite."""

NO_WEIGHT = np.float32(-1e4)
"""A bias at or below this says "masked" in models that know no bool masks."""


@dataclass(frozen=True, slots=True)
class MaskTile:
    """A mask cut to a tile. What is None is not there."""

    allowed: Booleans | None = None
    """Broadcastable to [heads, rows, keys]: not forbidden, nor left without weight by the bias."""
    bias: Floats | None = None
    """Broadcastable to [heads, rows, keys]"""
    future: Booleans | None = None
    """[rows, the last keys] True where a key comes after the query."""

    def apply_to(self, logits: Floats) -> None:
        """Mask [heads, rows, keys] in place. What lies in the future is overwritten, NaN or not."""
        if self.bias is not None:
            logits += self.bias
        if self.future is not None:
            last_keys = logits[:, :, logits.shape[2] - self.future.shape[1] :]
            np.copyto(last_keys, FORBIDDEN, where=self.future)


class Mask:
    """The mask of one layer, cut to a tile when asked.

    `bias` broadcasts to [heads, queries, keys]: bool, where True may be attended, or float, added
    to the logits. Under `causal` query i sees the keys 0 … i.
    """

    def __init__(self, bias: npt.NDArray[Any] | None, causal: bool) -> None:
        self._bias = None if bias is None else bias.reshape((1,) * (3 - bias.ndim) + bias.shape)
        self._causal = causal
        self.differs_by_head = self._bias is not None and self._bias.shape[0] > 1

    def cut(self, heads: slice, rows: Rows, keys: int) -> MaskTile:
        """The mask of these heads and rows over the first `keys` keys."""
        allowed, bias = self._cut_bias(heads, rows, keys)
        if not self._causal:
            return MaskTile(allowed, bias)
        past = np.arange(keys) <= rows.indices[:, None]
        future = ~past[:, rows.first + 1 :]
        return MaskTile(past[None] if allowed is None else allowed & past, bias, future)

    def _cut_bias(
        self, heads: slice, rows: Rows, keys: int
    ) -> tuple[Booleans | None, Floats | None]:
        if self._bias is None:
            return None, None
        bias = self._bias[heads] if self.differs_by_head else self._bias
        bias = (bias if bias.shape[1] == 1 else bias[:, rows.selector])[:, :, :keys]
        if bias.dtype == np.bool_:
            return bias, np.where(bias, np.float32(0), FORBIDDEN)
        added = to_float32(bias)
        bias = np.where(np.isneginf(added), FORBIDDEN, np.maximum(added, LOWEST))
        return added > NO_WEIGHT, bias
