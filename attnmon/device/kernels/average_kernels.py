"""Triton kernel: the mean of a layer's maps over its heads, as finely as pictures show it."""

import triton
import triton.language as tl

from attnmon.device.kernels.survey_kernels import (
    any_by_cell,
    load_rows,
    masked_logits,
    positions_of,
    summed_by_cell,
)
from attnmon.link.summaries.summary_parts import AVERAGE_LEVELS, CLOSED_CODE, UNKNOWN_CODE

_LEVELS = tl.constexpr(AVERAGE_LEVELS)
_UNKNOWN = tl.constexpr(UNKNOWN_CODE)
_CLOSED = tl.constexpr(CLOSED_CODE)
_SMALLEST = tl.constexpr(1e-30)
_VARYING = [
    "bias",
    "bound",
    "lse",
    "heads",
    "queries",
    "keys",
    "query_step",
    "key_step",
    "first_tile",
    "key_tiles",
    "bias_head",
    "bias_row",
]
"""Arguments that differ from batch to batch: they compile nothing anew."""


@triton.jit(do_not_specialize=_VARYING)
def survey_average(
    query, key, bias, bound, lse, scales, codes,
    heads, queries, keys, width, group, query_step, key_step, first_tile, key_tiles,
    scale, softcap,
    query_head, query_row, query_column,
    key_head, key_row, key_column,
    bias_head, bias_row, bias_key,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, HALF: tl.constexpr,
    SOFTCAP: tl.constexpr, BIAS: tl.constexpr, CAUSAL: tl.constexpr, CELL_ROWS: tl.constexpr,
    CELL_KEYS: tl.constexpr, TRIANGLE: tl.constexpr,
):  # fmt: skip
    """Pool the mean over heads of a tile's weights.

    lse: [heads, queries], as `survey_rows` leaves it. scales: [tiles] The largest cell of each.
    codes: uint8 [tiles, …] Its cells, as `AVERAGE_LEVELS` tells. Tiles are numbered row by row from
    `first_tile`; of a TRIANGLE only those that are not above the diagonal.
    """
    place = tl.program_id(0)
    tile = first_tile + place
    if TRIANGLE:
        row_tile = ((tl.sqrt(8.0 * tile.to(tl.float32) + 1) - 1) / 2).to(tl.int32)
        row_tile -= (row_tile * (row_tile + 1) // 2 > tile).to(tl.int32)  # the root was rounded
        row_tile += ((row_tile + 1) * (row_tile + 2) // 2 <= tile).to(tl.int32)
        key_tile = tile - row_tile * (row_tile + 1) // 2
    else:
        row_tile = tile // key_tiles
        key_tile = tile % key_tiles
    tile_rows: tl.constexpr = ROWS // CELL_ROWS
    tile_keys: tl.constexpr = KEYS // CELL_KEYS
    pooled = tl.zeros([tile_rows, tile_keys], tl.float32)
    permitted = tl.zeros([tile_rows, tile_keys], tl.int32)
    for row_chunk in range(tl.cdiv(query_step, CELL_ROWS)):
        rows, is_row = positions_of(row_tile, row_chunk, query_step, queries, ROWS, CELL_ROWS)
        for chunk in range(tl.cdiv(key_step, CELL_KEYS)):
            columns, is_key = positions_of(key_tile, chunk, key_step, keys, KEYS, CELL_KEYS)
            valid = is_row[:, None] & is_key[None, :]
            query_here, key_here, bias_here, lse_here = query, key, bias, lse
            for _ in range(heads // group):
                k = load_rows(key_here, columns, is_key, key_row, key_column, width, WIDTH)
                for _ in range(group):
                    q = load_rows(query_here, rows, is_row, query_row, query_column, width, WIDTH)
                    logits, allowed = masked_logits(
                        q, k, bias_here, bound, rows, columns, valid, scale, softcap, bias_row,
                        bias_key, HALF, SOFTCAP, BIAS, CAUSAL,
                    )  # fmt: skip
                    normaliser = tl.load(lse_here + rows, mask=is_row, other=float("inf"))
                    weights = tl.where(valid, tl.exp(logits - normaliser[:, None]), 0.0)
                    pooled += summed_by_cell(weights, tile_rows, CELL_ROWS, tile_keys, CELL_KEYS)
                    open_cells = any_by_cell(allowed, tile_rows, CELL_ROWS, tile_keys, CELL_KEYS)
                    permitted = tl.maximum(permitted, open_cells)
                    query_here += query_head
                    bias_here += bias_head
                    lse_here += queries
                key_here += key_head
    cell_rows = row_tile * tile_rows + tl.arange(0, tile_rows)
    count = tl.minimum(query_step, queries - cell_rows * query_step)
    count = tl.maximum(count, 1) * heads
    mean = pooled / count.to(tl.float32)[:, None]
    is_known = tl.abs(mean) < float("inf")
    mean = tl.where(is_known & (permitted > 0), mean, 0.0)
    largest = tl.max(tl.max(mean, 1), 0)
    level = tl.sqrt(mean / tl.maximum(largest, _SMALLEST)) * _LEVELS + 0.5
    code = tl.where(is_known, level.to(tl.int32), _UNKNOWN)
    code = tl.where(permitted > 0, code, _CLOSED)
    cells = tl.arange(0, tile_rows)[:, None] * tile_keys + tl.arange(0, tile_keys)[None, :]
    tl.store(codes + place.to(tl.int64) * (tile_rows * tile_keys) + cells, code.to(tl.uint8))
    tl.store(scales + place, largest)
