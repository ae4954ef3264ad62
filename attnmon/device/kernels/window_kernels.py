"""Triton kernel: the weights of single queries, as they are."""

import triton
import triton.language as tl

from attnmon.device.kernels.survey_kernels import load_rows, masked_logits

_VARYING = [
    "bias",
    "bound",
    "lse",
    "queries",
    "keys",
    "count",
    "query_step",
    "bias_head",
    "bias_row",
]
"""Arguments that differ from batch to batch: they compile nothing anew."""


@triton.jit(do_not_specialize=_VARYING)
def survey_window(
    query, key, bias, bound, lse, window,
    queries, keys, count, width, group, query_step, scale, softcap,
    query_head, query_row, query_column,
    key_head, key_row, key_column,
    bias_head, bias_row, bias_key,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, HALF: tl.constexpr,
    SOFTCAP: tl.constexpr, BIAS: tl.constexpr, CAUSAL: tl.constexpr, CELL_ROWS: tl.constexpr,
):  # fmt: skip
    """Write the weights of the first `count` queries of a head for some keys; ROWS are as many.

    lse: [heads, queries], as `survey_rows` leaves it. window: float32 [heads, count, keys].
    """
    head = tl.program_id(1).to(tl.int64)
    rows = tl.arange(0, ROWS)
    columns = tl.program_id(0) * KEYS + tl.arange(0, KEYS)
    is_row, is_key = rows < count, columns < keys
    valid = is_row[:, None] & is_key[None, :]
    query += head * query_head
    key += (head // group) * key_head
    q = load_rows(query, rows, is_row, query_row, query_column, width, WIDTH)
    k = load_rows(key, columns, is_key, key_row, key_column, width, WIDTH)
    logits, _ = masked_logits(
        q, k, bias + head * bias_head, bound, rows, columns, valid, scale, softcap, bias_row,
        bias_key, HALF, SOFTCAP, BIAS, CAUSAL,
    )  # fmt: skip
    normaliser = tl.load(lse + head * queries + rows, mask=is_row, other=float("inf"))
    place = (head * count + rows)[:, None] * keys + columns[None, :]
    tl.store(window + place, tl.exp(logits - normaliser[:, None]), mask=valid)
