"""The attention mask: which keys a query may attend to, and what is added to its logits."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon.link.records.attention_record import MASKED_BIAS, mask_bound
from attnmon_renderer.analysis.arrays import Booleans, Floats, Integers, Rows, to_float32

MASKED_LOGIT = np.float32(-1e38)
"""Replaces a bias of −∞. Its exponential is also 0, but 0 · MASKED_LOGIT is 0, not NaN."""

LOWEST_BIAS = np.float32(-1e37)
"""Lower limit of finite biases: keeps them apart from MASKED_LOGIT, and their sums finite."""


@dataclass(frozen=True, eq=False)
class MaskTile:
    """The part of a layer's mask for some heads, some rows and the first `keys` keys."""

    rows: Rows
    keys: int
    causal: bool
    bias: npt.NDArray[Any] | None
    """Broadcastable to [heads, rows, keys]; bool or float, in the dtype that was sent."""
    bound: float = MASKED_BIAS
    """The largest of the numbers that forbid a key, where the bias is float."""

    def only(self, rows: Rows, selector: slice | Integers) -> "MaskTile":
        """Returns the mask of some of its rows."""
        bias = self.bias
        if bias is not None and bias.shape[1] > 1:
            bias = bias[:, selector]
        return MaskTile(rows, self.keys, self.causal, bias, self.bound)

    def apply_to(self, logits: Floats) -> None:
        """Mask logits [heads, rows, keys] in place; future keys are overwritten, even NaN."""
        if self.bias is not None:
            logits += self._additive_bias
        if self.causal:
            next_key = self.rows.first + 1
            future = np.arange(next_key, self.keys) > self.rows.indices[:, None]
            np.copyto(logits[:, :, next_key:], MASKED_LOGIT, where=future)

    @cached_property
    def _additive_bias(self) -> Floats:
        assert self.bias is not None
        if self.bias.dtype == np.bool_:
            return np.where(self.bias, np.float32(0), MASKED_LOGIT)
        bias = to_float32(self.bias)
        return np.where(np.isneginf(bias), MASKED_LOGIT, np.maximum(bias, LOWEST_BIAS))

    @cached_property
    def allowed(self) -> Booleans:
        """[1 or heads, 1 or rows, keys] True where the query may attend to the key."""
        allowed = np.ones((1, 1, self.keys), np.bool_)
        if self.bias is not None:
            allowed = allowed & _allowed_by(self.bias, self.bound)
        if self.causal:
            allowed = allowed & (np.arange(self.keys) <= self.rows.indices[:, None])
        return allowed

    @cached_property
    def seen_keys(self) -> Booleans:
        """[1 or heads, keys] True for keys that any of these queries may attend to."""
        if self.bias is not None:
            return np.asarray(self.allowed.any(axis=1))
        last = self.rows.last if self.causal else self.keys
        return np.arange(self.keys)[None] <= last

    @cached_property
    def allowed_keys(self) -> Integers:
        """[1 or heads, 1 or rows] Number of keys that each query may attend to."""
        if self.bias is not None:
            return np.asarray(np.count_nonzero(self.allowed, axis=2))
        past = self.rows.indices + 1 if self.causal else np.array([self.keys])
        return np.asarray(np.minimum(past, self.keys)[None])


class Mask:
    """The mask of one layer, from which the masks of tiles are cut.

    `bias` broadcasts to [heads, queries, keys]: bool, where True may be attended, or float, added
    to the logits. If `causal`, query i sees the keys 0 … i.
    """

    def __init__(self, bias: npt.NDArray[Any] | None, causal: bool) -> None:
        self._bias = None if bias is None else bias.reshape((1,) * (3 - bias.ndim) + bias.shape)
        self._causal = causal
        self._bound = MASKED_BIAS if self._bias is None else _bound_of(self._bias)
        self.differs_by_head = self._bias is not None and len(self._bias) > 1
        """If False, one `MaskTile` serves all heads of some rows."""

    @cached_property
    def allowed(self) -> Booleans | None:
        """[1 or heads, 1 or queries, 1 or keys] What the bias allows; None if it allows all."""
        if self._bias is None:
            return None
        allowed = _allowed_by(self._bias, self._bound)
        return None if allowed.all() else allowed

    def padding(self, queries: int, keys: int, earlier: int) -> Booleans | None:
        """Returns which of a sequence's queries are padding; None if none is, or all are.

        [queries] True where the query's own key is masked for every query that sees what it may.
        earlier: keys before the first query's own.
        """
        if self._bias is None or not queries or earlier + queries != keys:
            return None
        bias = np.broadcast_to(self._bias, (*self._bias.shape[:2], keys))
        own = np.arange(queries)
        own_keys = bias[:, own if bias.shape[1] > 1 else 0, own + earlier]
        sees_itself: Booleans = np.array(_allowed_by(own_keys, self._bound).any(axis=0))
        if sees_itself.all() and not _allowed_by(bias[:, 0], self._bound).all():
            return None  # as most are, whose masks need not be read
        allowed = _allowed_by(bias, self._bound)
        blind = _rows_without_a_mask(allowed)
        sees_itself[:blind] = False
        (candidates,) = np.nonzero(~sees_itself)
        columns = allowed[:, blind:, candidates + earlier]
        padding = np.zeros(queries, np.bool_)
        padding[candidates[~columns.any(axis=(0, 1))]] = True
        return padding if padding.any() and not padding.all() else None

    def tile(self, heads: slice, rows: Rows, keys: int) -> MaskTile:
        """Returns the mask of these heads and rows over the first `keys` keys."""
        bias = self._bias
        if bias is not None:
            bias = bias[heads] if len(bias) > 1 else bias
            bias = bias[:, rows.selector] if bias.shape[1] > 1 else bias
            bias = bias[:, :, :keys]
        return MaskTile(rows, keys, self._causal, bias, self._bound)


def _allowed_by(bias: npt.NDArray[Any], bound: float) -> Booleans:
    """Returns where a bias allows attention: True in a bool one, above the bound in a float."""
    return bias if bias.dtype == np.bool_ else to_float32(bias) > bound


def _bound_of(bias: npt.NDArray[Any]) -> float:
    """Returns the largest of the numbers by which a bias [heads, queries, keys] forbids a key.

    In one of nothing but 0 and another number, that number is a mask, also where it is as small
    as -100. The first and the last query are looked at: more would have large masks read.
    """
    if bias.dtype == np.bool_ or not bias.size:
        return MASKED_BIAS
    rows = to_float32(bias[:, [0, -1]])
    lowest = float(rows.min())
    bound = mask_bound(lowest)
    is_mask = bound > MASKED_BIAS and bool(((rows == 0) | (rows == lowest)).all())
    return bound if is_mask else MASKED_BIAS


def _rows_without_a_mask(allowed: Booleans) -> int:
    """Returns how many first queries see all keys, though those after them see none after theirs.

    They are padding on the left: a row that may attend to nothing is opened for all, since a
    softmax over nothing is NaN.
    """
    _, queries, keys = allowed.shape
    closed = np.flatnonzero(~allowed.all(axis=(0, 2)))
    blind = int(closed[0]) if len(closed) else 0
    is_causal = not allowed[:, blind, keys - queries + blind + 1 :].any()
    return blind if is_causal else 0
