"""Triton kernels: what a mask that differs from query to query says, without a copy of it.

Imported where a kernel is launched, as `survey_kernels`. A key counts as allowed where one head may
attend to it.
"""

import triton
import triton.language as tl

from attnmon.link.records.attention_record import MASKED_BIAS

ROWS, KEYS, WARPS = 32, 64, 4
"""Queries and keys in a tile, and how the kernels are launched."""
_MASKED_BIAS = tl.constexpr(MASKED_BIAS)
_VARYING = ["bias", "heads", "queries", "keys", "bias_head", "bias_row"]


@triton.jit
def _allowed(bias, rows, columns, valid, bias_row, bias_key, IS_BOOL: tl.constexpr):
    """Return where a tile of a mask lets queries attend."""
    places = rows.to(tl.int64)[:, None] * bias_row + columns.to(tl.int64)[None, :] * bias_key
    given = tl.load(bias + places, mask=valid, other=0)
    if IS_BOOL:
        return valid & (given != 0)
    return valid & (given.to(tl.float32) > _MASKED_BIAS)


@triton.jit(do_not_specialize=_VARYING)
def survey_mask_rows(
    bias, facts, heads, queries, keys, bias_head, bias_row, bias_key,
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
            allowed = _allowed(here, rows, columns, valid, bias_row, bias_key, IS_BOOL)
            first = tl.minimum(first, tl.min(tl.where(allowed, columns[None, :], keys), 1))
            last = tl.maximum(last, tl.max(tl.where(allowed, columns[None, :], -1), 1))
            closed = tl.maximum(closed, tl.max((valid & (allowed == 0)).to(tl.int32), 1))
        here += bias_head
    tl.store(facts + rows, first, mask=is_row)
    tl.store(facts + queries + rows, last, mask=is_row)
    tl.store(facts + 2 * queries + rows, closed, mask=is_row)


@triton.jit(do_not_specialize=_VARYING)
def survey_mask_keys(
    bias, latest, heads, queries, keys, bias_head, bias_row, bias_key,
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
            allowed = _allowed(here, rows, columns, valid, bias_row, bias_key, IS_BOOL)
            found = tl.maximum(found, tl.max(tl.where(allowed, rows[:, None], -1), 0))
        here += bias_head
    tl.store(latest + columns, found, mask=is_key)
