"""Which keys a query may attend to, and what is added to its logits: bias and causality."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Floats, Integers, Rows, to_float32

FORBIDDEN = np.float32(-1e38)
"""Stands for a bias of −∞. Its exponential is 0 too, but 0 · FORBIDDEN is 0, not NaN."""

LOWEST = np.float32(-1e37)
"""Finite biases are raised to this: apart from FORBIDDEN, and sums of all of them stay finite."""

NO_WEIGHT = np.float32(-1e4)
"""A bias at or below this says "masked" in models that know no bool masks."""


@dataclass(frozen=True, eq=False)
class MaskTile:
    """A mask cut to some heads and rows and to the first `keys` keys."""

    rows: Rows
    keys: int
    causal: bool
    bias: npt.NDArray[Any] | None
    """As it was sent, broadcastable to [heads, rows, keys]."""

    def apply_to(self, logits: Floats) -> None:
        """Mask [heads, rows, keys] in place. What lies in the future is overwritten, NaN or not."""
        if self.bias is not None:
            logits += self._to_add
        if self.causal:
            next_key = self.rows.first + 1
            future = np.arange(next_key, self.keys) > self.rows.indices[:, None]
            np.copyto(logits[:, :, next_key:], FORBIDDEN, where=future)

    @cached_property
    def _to_add(self) -> Floats:
        assert self.bias is not None
        if self.bias.dtype == np.bool_:
            return np.where(self.bias, np.float32(0), FORBIDDEN)
        bias = to_float32(self.bias)
        return np.where(np.isneginf(bias), FORBIDDEN, np.maximum(bias, LOWEST))

    @cached_property
    def allowed(self) -> Booleans:
        """[1 or heads, 1 or rows, keys] May the query attend to the key?"""
        allowed = np.ones((1, 1, self.keys), np.bool_)
        if self.bias is not None:
            is_bool = self.bias.dtype == np.bool_
            allowed = allowed & (self.bias if is_bool else to_float32(self.bias) > NO_WEIGHT)
        if self.causal:
            allowed = allowed & (np.arange(self.keys) <= self.rows.indices[:, None])
        return allowed

    @cached_property
    def allowed_keys(self) -> Integers:
        """[1 or heads, 1 or rows] how many keys each query may attend to."""
        if self.bias is not None:
            return np.asarray(np.count_nonzero(self.allowed, axis=2))
        past = self.rows.indices + 1 if self.causal else np.array([self.keys])
        return np.asarray(np.minimum(past, self.keys)[None])


class Mask:
    """The mask of one layer, cut to a tile when asked.

    `bias` broadcasts to [heads, queries, keys]: bool, where True may be attended, or float, added
    to the logits. Under `causal` query i sees the keys 0 … i.
    """

    def __init__(self, bias: npt.NDArray[Any] | None, causal: bool) -> None:
        self._bias = None if bias is None else bias.reshape((1,) * (3 - bias.ndim) + bias.shape)
        self._causal = causal
        self.differs_by_head = self._bias is not None and len(self._bias) > 1

    @cached_property
    def allowed(self) -> Booleans | None:
        """[1 or heads, 1 or queries, 1 or keys] by the bias; None where it forbids nothing."""
        if self._bias is None:
            return None
        is_bool = self._bias.dtype == np.bool_
        allowed: Booleans = self._bias if is_bool else to_float32(self._bias) > NO_WEIGHT
        return None if allowed.all() else allowed

    def cut(self, heads: slice, rows: Rows, keys: int) -> MaskTile:
        """The mask of these heads and rows over the first `keys` keys."""
        bias = self._bias
        if bias is not None:
            bias = bias[heads] if len(bias) > 1 else bias
            bias = bias[:, rows.selector] if bias.shape[1] > 1 else bias
            bias = bias[:, :, :keys]
        return MaskTile(rows, keys, self._causal, bias)
