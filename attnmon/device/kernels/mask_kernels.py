"""Triton kernels: what a mask that differs from query to query says, without a copy of it.

Imported where a kernel is launched, as `survey_kernels`. A key counts as allowed where one head may
attend to it.
"""

import triton
import triton.language as tl

from attnmon.device.kernels import hash_first
from attnmon.link.records.attention_record import MASKED_BIAS, WEAKEST_MASK

ROWS, KEYS, WARPS = 32, 64, 4
"""Queries and keys in a tile, and how the kernels are launched."""
BOUND_KEYS = 1024
"""Keys at a time where the bound is looked for."""
_MASKED_BIAS = tl.constexpr(MASKED_BIAS)
_WEAKEST_MASK = tl.constexpr(WEAKEST_MASK)
_VARYING = ["bias", "bound", "heads", "queries", "keys", "bias_head", "bias_row"]


@triton.jit
def _allowed(bias, bound, rows, columns, valid, bias_row, bias_key, IS_BOOL: tl.constexpr):
    """Return where a tile of a mask lets queries attend."""
    places = rows.to(tl.int64)[:, None] * bias_row + columns.to(tl.int64)[None, :] * bias_key
    given = tl.load(bias + places, mask=valid, other=0)
    if IS_BOOL:
        return valid & (given != 0)
    return valid & (given.to(tl.float32) > tl.load(bound))


hash_first(_allowed)


@triton.jit(do_not_specialize=_VARYING)
def survey_mask_bound(
    bias, bound, heads, queries, keys, bias_head, bias_row, bias_key, KEYS: tl.constexpr
):  # fmt: skip
    """Find the largest number that forbids a key: of the first and the last query, as `mask_bound`.

    bound: float32 [1]
    """
    zeros = tl.zeros([KEYS], tl.float32)
    lowest, highest, odd = zeros, zeros + float("-inf"), zeros
    last = (queries - 1).to(tl.int64) * bias_row
    here = bias
    for _ in range(heads):
        for start in range(0, keys, KEYS):
            columns = start + tl.arange(0, KEYS)
            places = columns.to(tl.int64) * bias_key
            for end in tl.static_range(2):
                given = tl.load(here + end * last + places, mask=columns < keys, other=0.0)
                given = given.to(tl.float32)
                lowest = tl.minimum(lowest, given)
                highest = tl.maximum(highest, tl.where(given == 0, float("-inf"), given))
                odd = tl.maximum(odd, (given != given).to(tl.float32))
        here += bias_head
    least = tl.min(lowest, 0)
    is_mask = (tl.max(highest, 0) == least) & (least <= _WEAKEST_MASK) & (tl.max(odd, 0) == 0)
    tl.store(bound, tl.where(is_mask, tl.maximum(least / 2, _MASKED_BIAS), _MASKED_BIAS))


@triton.jit(do_not_specialize=_VARYING)
def survey_mask_rows(
    bias, bound, facts, heads, queries, keys, bias_head, bias_row, bias_key,
    IS_BOOL: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Find the first and the last key of each query, and whether a key is closed to it.

    facts: int32 [3, queries]; the first key of a query that sees none is `keys`, its last −1.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = rows < queries
    zeros = tl.zeros([ROWS], tl.int32)
    first, last, closed = zeros + keys, zeros - 1, zeros
    here = bias
    for _ in range(heads):
        for start in range(0, keys, KEYS):
            columns = start + tl.arange(0, KEYS)
            valid = is_row[:, None] & (columns < keys)[None, :]
            allowed = _allowed(here, bound, rows, columns, valid, bias_row, bias_key, IS_BOOL)
            first = tl.minimum(first, tl.min(tl.where(allowed, columns[None, :], keys), 1))
            last = tl.maximum(last, tl.max(tl.where(allowed, columns[None, :], -1), 1))
            closed = tl.maximum(closed, tl.max((valid & (allowed == 0)).to(tl.int32), 1))
        here += bias_head
    tl.store(facts + rows, first, mask=is_row)
    tl.store(facts + queries + rows, last, mask=is_row)
    tl.store(facts + 2 * queries + rows, closed, mask=is_row)


@triton.jit(do_not_specialize=_VARYING)
def survey_mask_keys(
    bias, bound, latest, heads, queries, keys, bias_head, bias_row, bias_key,
    IS_BOOL: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Find the last query that may attend to each key, −1 where none may. latest: int32 [keys]."""
    columns = tl.program_id(0) * KEYS + tl.arange(0, KEYS)
    is_key = columns < keys
    found = tl.zeros([KEYS], tl.int32) - 1
    here = bias
    for _ in range(heads):
        for start in range(0, queries, ROWS):
            rows = start + tl.arange(0, ROWS)
            valid = (rows < queries)[:, None] & is_key[None, :]
            allowed = _allowed(here, bound, rows, columns, valid, bias_row, bias_key, IS_BOOL)
            found = tl.maximum(found, tl.max(tl.where(allowed, rows[:, None], -1), 0))
        here += bias_head
    tl.store(latest + columns, found, mask=is_key)
