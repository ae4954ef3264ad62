"""Triton kernels: the statistics and the pooled map of a layer, without its queries × keys.

Imported where a kernel is launched, and nowhere else: Triton comes with torch's builds for CUDA
alone. Sums are float32, products of float32 are not rounded to TF32. The formulas, and what they
make of masks, NaN and infinity, are those of the renderer's `analysis`.

    survey_rows     each query: log-sum-exp (kept for the second pass), entropy, distance, …
    survey_columns  each key: what it receives; the cells of the map; the spread of the weights
    survey_keys     each head: what follows from what its keys receive
"""

import triton
import triton.language as tl

from attnmon.device.kernels import hash_first
from attnmon.link.summaries.summary_parts import COLUMN_PARTS, KEY_PARTS, ROW_PARTS, SINK_SHARE

WARPS, STAGES = 8, 2
"""How the kernels are launched."""
_MASKED = tl.constexpr(-1e38)
"""Added to the logit of a masked key; its exponential is 0, and 0 times it is no NaN."""
_LOWEST = tl.constexpr(-1e37)
"""Lower limit of finite biases."""
_OUTSIDE = tl.constexpr(-2e38)
"""The logit of what is no key at all: below that of a masked one."""
_START = tl.constexpr(-3e38)
_FAR = tl.constexpr(-1e30)
"""Lower limit of the distance of two maxima: that of a masked block would overflow in a sum."""
_ROW_LENGTH = tl.constexpr(len(ROW_PARTS))
_COLUMN_LENGTH = tl.constexpr(len(COLUMN_PARTS))
_KEY_LENGTH = tl.constexpr(len(KEY_PARTS))
_SINK_SHARE = tl.constexpr(SINK_SHARE)

_VARYING = [
    "bias",
    "bound",
    "lse",
    "padding",
    "declared_queries",
    "declared_keys",
    "queries",
    "keys",
    "earlier",
    "bias_head",
    "bias_row",
    "query_step",
    "query_cells",
]
"""Arguments that differ from batch to batch: they compile nothing anew."""


@triton.jit
def load_rows(
    pointer, rows, valid, row_stride, stride, width,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """Load these rows of a matrix, padded with zeros to WIDTH columns."""
    columns = tl.arange(0, WIDTH)
    offsets = rows.to(tl.int64)[:, None] * row_stride + columns[None, :] * stride
    return tl.load(pointer + offsets, mask=valid[:, None] & (columns < width)[None, :], other=0.0)


@triton.jit
def positions_of(tile, chunk, step, end, TILE: tl.constexpr, IN_CELL: tl.constexpr):
    """Return the positions of a tile, and which of them there are.

    A tile has whole cells of `step` positions, IN_CELL of each at a time: its part number `chunk`.
    """
    lanes = tl.arange(0, TILE)
    inner = chunk * IN_CELL + lanes % IN_CELL
    positions = (tile * (TILE // IN_CELL) + lanes // IN_CELL) * step + inner
    return positions, (inner < step) & (positions < end)


@triton.jit
def _tanh(x):
    """Return tanh x; a series where 1 − exp(−2x) would cancel."""
    small = tl.exp(-2 * tl.abs(x))
    far = (1 - small) / (1 + small)
    square = x * x
    series = 62 / 2835 * square - 17 / 315
    near = x * (1 + square * (-1 / 3 + square * (2 / 15 + square * series)))
    return tl.where(tl.abs(x) < 0.25, near, tl.where(x < 0, -far, far))


@triton.jit
def masked_logits(
    query, key, bias, bound, rows, keys, valid, scale, softcap,
    bias_row, bias_key,
    HALF: tl.constexpr, SOFTCAP: tl.constexpr, BIAS: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Return the masked logits [rows, keys], and where a query may attend to a key.

    BIAS: 0 there is none, 1 it is bool, 2 it is added. bound: [1] the largest number of one that is
    added which forbids a key.
    """
    if HALF:
        logits = tl.dot(query, tl.trans(key)) * scale
    else:
        wide, tall = query.to(tl.float32), tl.trans(key.to(tl.float32))
        logits = tl.dot(wide, tall, input_precision="ieee") * scale
    if SOFTCAP:
        logits = softcap * _tanh(logits / softcap)
    allowed = valid
    if BIAS > 0:
        places = rows.to(tl.int64)[:, None] * bias_row + keys.to(tl.int64)[None, :] * bias_key
        given = tl.load(bias + places, mask=valid, other=0)
        if BIAS == 1:
            allowed = allowed & (given != 0)
            logits += tl.where(given != 0, 0.0, _MASKED)
        else:
            given = given.to(tl.float32)
            allowed = allowed & (given > tl.load(bound))
            finite = tl.where(given < _LOWEST, _LOWEST, given)
            logits += tl.where(given == float("-inf"), _MASKED, finite)
    if CAUSAL:
        future = keys[None, :] > rows[:, None]
        allowed = allowed & (keys[None, :] <= rows[:, None])
        logits = tl.where(future, _MASKED, logits)
    return tl.where(valid, logits, _OUTSIDE), allowed


@triton.jit
def summed_by_cell(
    values, TALL: tl.constexpr, CELL_ROWS: tl.constexpr, WIDE: tl.constexpr, CELL_KEYS: tl.constexpr
):
    """Return [TALL, WIDE] the sum of what each cell has of a tile."""
    return tl.sum(tl.sum(values.reshape(TALL, CELL_ROWS, WIDE, CELL_KEYS), 3), 1)


@triton.jit
def any_by_cell(
    flags, TALL: tl.constexpr, CELL_ROWS: tl.constexpr, WIDE: tl.constexpr, CELL_KEYS: tl.constexpr
):
    """Return [TALL, WIDE] 1 where a cell has a flag in a tile, else 0."""
    numbers = flags.to(tl.int32).reshape(TALL, CELL_ROWS, WIDE, CELL_KEYS)
    return tl.max(tl.max(numbers, 3), 1)


hash_first(load_rows, positions_of, _tanh, masked_logits, summed_by_cell, any_by_cell)


@triton.jit(do_not_specialize=_VARYING)
def survey_rows(
    query, key, bias, bound, sinks, padding, declared_queries, declared_keys, lse,
    top_logits, strongest, parts,
    queries, keys, width, group, query_step, query_cells, earlier, scale, softcap,
    query_head, query_row, query_column,
    key_head, key_row, key_column,
    bias_head, bias_row, bias_key, sinks_stride,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, HALF: tl.constexpr,
    SOFTCAP: tl.constexpr, BIAS: tl.constexpr, CAUSAL: tl.constexpr, SINKS: tl.constexpr,
    PADDING: tl.constexpr, SCALED: tl.constexpr, DECLARED: tl.constexpr, CELLS: tl.constexpr,
    CELL_ROWS: tl.constexpr,
):  # fmt: skip
    """Sum up every so many rows of cells of a head; write the log-sum-exp of each query.

    lse: [heads, queries]. top_logits: [heads, …, query cells], by `LOGIT_PARTS`. strongest: [heads,
    query cells] the key with the largest weight in each row of cells. parts: [heads, programs, …],
    by `ROW_PARTS`. padding: [queries], not 0 for queries that do not count; declared_queries,
    declared_keys: not 0 for what is said to be padding. SCALED: the key that corresponds to a query
    is found by the ratio of the lengths.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    head = tl.program_id(1).to(tl.int64)
    query += head * query_head
    key += (head // group) * key_head
    bias += head * bias_head
    zeros = tl.zeros([ROWS], tl.float32)
    counted_rows, attending, comparing, mass = zeros, zeros, zeros, zeros
    effective, first, distance, diagonal, entropy = zeros, zeros, zeros, zeros, zeros
    future, error, non_finite, largest = zeros, zeros, zeros, zeros
    misplaced, real_rows = zeros, zeros
    smallest = zeros + float("inf")
    tile_rows: tl.constexpr = ROWS // CELL_ROWS
    for tile in range(program, tl.cdiv(query_cells, tile_rows), programs):
        best_weight = tl.zeros([tile_rows], tl.float32) - 1
        best_key = tl.zeros([tile_rows], tl.int32)
        top_lse = tl.zeros([tile_rows], tl.float32) + float("-inf")
        top_logit = top_lse
        for row_chunk in range(tl.cdiv(query_step, CELL_ROWS)):
            rows, is_row = positions_of(tile, row_chunk, query_step, queries, ROWS, CELL_ROWS)
            q = load_rows(query, rows, is_row, query_row, query_column, width, WIDTH)
            if SCALED:
                position = rows.to(tl.float64) * (keys.to(tl.float64) / queries.to(tl.float64))
            else:
                position = (rows + earlier).to(tl.float64)
            below = tl.floor(position)
            rest = position - below
            is_odd = (below.to(tl.int32) % 2) == 1
            nearest = below.to(tl.int32) + ((rest > 0.5) | ((rest == 0.5) & is_odd)).to(tl.int32)
            nearest = tl.minimum(nearest, keys - 1)
            position = position.to(tl.float32)
            maximum, minimum = zeros + _START, zeros - _START
            total, products, distances, later, padded = zeros, zeros, zeros, zeros, zeros
            own_logit, first_logit, allowed_keys = zeros, zeros, zeros
            top_key = tl.zeros([ROWS], tl.int32)
            end = keys
            if CAUSAL:
                end = tl.minimum(keys, tl.max(tl.where(is_row, rows, 0), 0) + 1)
            for start in range(0, end, KEYS):
                columns = start + tl.arange(0, KEYS)
                is_key = columns < keys
                valid = is_row[:, None] & is_key[None, :]
                k = load_rows(key, columns, is_key, key_row, key_column, width, WIDTH)
                logits, allowed = masked_logits(
                    q, k, bias, bound, rows, columns, valid, scale, softcap, bias_row, bias_key,
                    HALF, SOFTCAP, BIAS, CAUSAL,
                )  # fmt: skip
                peak = tl.max(logits, 1)
                at_peak = tl.where(logits == peak[:, None], columns[None, :], keys)
                top_key = tl.where(peak > maximum, tl.min(at_peak, 1), top_key)
                higher = tl.maximum(maximum, peak)
                step = tl.maximum(maximum - higher, _FAR)
                shrink = tl.exp(step)
                shifted = logits - higher[:, None]
                weights = tl.exp(shifted)
                away = tl.abs(position[:, None] - columns.to(tl.float32)[None, :])
                products = (products + total * step) * shrink + tl.sum(weights * shifted, 1)
                distances = distances * shrink + tl.sum(weights * away, 1)
                is_later = columns.to(tl.float32)[None, :] > position[:, None]
                later = later * shrink + tl.sum(tl.where(is_later, weights, 0.0), 1)
                if DECLARED:
                    is_padding = tl.load(declared_keys + columns, mask=is_key, other=0) != 0
                    given = tl.where(is_padding[None, :], weights, 0.0)
                    padded = padded * shrink + tl.sum(given, 1)
                total = total * shrink + tl.sum(weights, 1)
                maximum = higher
                minimum = tl.minimum(minimum, tl.min(tl.where(valid, logits, -_START), 1))
                is_own = columns[None, :] == nearest[:, None]
                own_logit += tl.sum(tl.where(is_own, logits, 0.0), 1)
                first_logit += tl.sum(tl.where((columns == 0)[None, :], logits, 0.0), 1)
                allowed_keys += tl.sum(allowed.to(tl.float32), 1)
            if CAUSAL:
                minimum = tl.where(rows + 1 < keys, _MASKED, minimum)
                own_logit = tl.where(nearest > rows, _MASKED, own_logit)
            # Of a row of NaN the maximum is what it began with: a device's maxima leave NaN out.
            nothing = (maximum < _MASKED / 2) & (total == total)
            shift, denominator = maximum, total
            sink_share = zeros
            if SINKS:
                sink = tl.load(sinks + head * sinks_stride).to(tl.float32)
                shift = tl.maximum(maximum, sink)
                sink_share = tl.exp(sink - shift)
                denominator = total * tl.exp(maximum - shift) + sink_share
                sink_share = sink_share / denominator
            normaliser = shift + tl.log(denominator)
            factor = tl.where(nothing, 0.0, tl.exp(maximum - shift) / denominator)
            tl.store(
                lse + head * queries + rows,
                tl.where(nothing, float("inf"), normaliser),
                mask=is_row,
            )
            sums = total * factor
            row_entropy = tl.where(nothing, 0.0, sums * (normaliser - maximum) - products * factor)
            counts = is_row
            if PADDING:
                counts = counts & (tl.load(padding + rows, mask=is_row, other=1) == 0)
            attends = counts & (allowed_keys >= 1)
            compares = counts & (allowed_keys >= 2)
            is_finite = tl.abs(sums) < float("inf")
            counted_rows += counts.to(tl.float32)
            attending += attends.to(tl.float32)
            comparing += compares.to(tl.float32)
            mass += tl.where(counts, sums, 0.0)
            effective += tl.where(attends, tl.exp(row_entropy), 0.0)
            first += tl.where(attends, tl.exp(tl.minimum(first_logit - maximum, 0.0)) * factor, 0.0)
            distance += tl.where(attends, distances * factor, 0.0)
            diagonal += tl.where(
                attends, tl.exp(tl.minimum(own_logit - maximum, 0.0)) * factor, 0.0
            )
            future += tl.where(counts, later * factor, 0.0)
            if DECLARED:
                said = tl.load(declared_queries + rows, mask=is_row, other=1) != 0
                is_real = counts & (said == 0)
                misplaced += tl.where(is_real, padded * factor, 0.0)
                real_rows += tl.where(is_real, (factor > 0).to(tl.float32), 0.0)
            relative = row_entropy / tl.log(tl.maximum(allowed_keys, 2.0))
            entropy += tl.where(compares, relative, 0.0)
            off = tl.abs(sums + sink_share - 1.0)
            error = tl.maximum(error, tl.where(attends & is_finite, off, 0.0))
            visible = zeros + keys
            if CAUSAL:
                visible = tl.minimum(keys, rows + 1).to(tl.float32)
            non_finite += tl.where(counts & (is_finite == 0), visible, 0.0)
            weakest = tl.exp(tl.minimum(minimum, maximum) - maximum) * factor
            smallest = tl.minimum(smallest, tl.where(counts, weakest, float("inf")))
            largest = tl.maximum(largest, tl.where(counts, factor, 0.0))
            logits_of_rows = tl.where(attends, maximum, float("-inf"))
            top_logit = tl.maximum(
                top_logit, tl.max(logits_of_rows.reshape(tile_rows, CELL_ROWS), 1)
            )
            lse_of_rows = tl.where(attends, normaliser, float("-inf"))
            top_lse = tl.maximum(top_lse, tl.max(lse_of_rows.reshape(tile_rows, CELL_ROWS), 1))
            in_cells = tl.where(is_row, factor, -1.0).reshape(tile_rows, CELL_ROWS)
            heaviest = tl.max(in_cells, 1)
            candidates = top_key.reshape(tile_rows, CELL_ROWS)
            chosen = tl.min(tl.where(in_cells == heaviest[:, None], candidates, keys), 1)
            best_key = tl.where(heaviest > best_weight, chosen, best_key)
            best_weight = tl.maximum(best_weight, heaviest)
        cell_rows = tile * tile_rows + tl.arange(0, tile_rows)
        is_cell = cell_rows < query_cells
        place = top_logits + head * 2 * query_cells + cell_rows
        tl.store(place, top_lse, mask=is_cell)
        tl.store(place + query_cells, top_logit, mask=is_cell)
        if CELLS:
            tl.store(strongest + head * query_cells + cell_rows, best_key, mask=is_cell)
    parts += (head * programs + program) * _ROW_LENGTH
    tl.store(parts + 0, tl.sum(counted_rows, 0))
    tl.store(parts + 1, tl.sum(attending, 0))
    tl.store(parts + 2, tl.sum(comparing, 0))
    tl.store(parts + 3, tl.sum(mass, 0))
    tl.store(parts + 4, tl.sum(effective, 0))
    tl.store(parts + 5, tl.sum(first, 0))
    tl.store(parts + 6, tl.sum(distance, 0))
    tl.store(parts + 7, tl.sum(diagonal, 0))
    tl.store(parts + 8, tl.sum(entropy, 0))
    tl.store(parts + 9, tl.sum(future, 0))
    tl.store(parts + 10, tl.sum(misplaced, 0))
    tl.store(parts + 11, tl.sum(real_rows, 0))
    tl.store(parts + 12, tl.sum(non_finite, 0))
    tl.store(parts + 13, tl.max(error, 0))
    tl.store(parts + 14, tl.min(smallest, 0))
    tl.store(parts + 15, tl.max(largest, 0))


@triton.jit(do_not_specialize=[*_VARYING, "key_step", "key_cells"])
def survey_columns(
    query, key, bias, bound, padding, lse, received, cells, parts,
    queries, keys, width, group, query_step, key_step,
    query_cells, key_cells, scale, softcap, center,
    query_head, query_row, query_column,
    key_head, key_row, key_column,
    bias_head, bias_row, bias_key,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, HALF: tl.constexpr,
    SOFTCAP: tl.constexpr, BIAS: tl.constexpr, CAUSAL: tl.constexpr, PADDING: tl.constexpr,
    CELLS: tl.constexpr, CELL_ROWS: tl.constexpr, CELL_KEYS: tl.constexpr, CHUNKS: tl.constexpr,
    TRIANGLE: tl.constexpr,
):  # fmt: skip
    """Pool the weights of some columns of cells of a head; sum up what their keys receive.

    received: [heads, keys] The sum over the queries that count; its sign is set where none of them
    may attend to the key. cells: [heads, cells] float16, of a TRIANGLE only those that are
    not above the diagonal: a cell is the mean over its queries of the sum over its keys; its sign
    is set where no query that counts may attend to any of its keys. parts: [heads, programs, …], by
    `COLUMN_PARTS`.

    CELL_ROWS, CELL_KEYS: a cell's positions in a tile, a power of 2; a larger cell takes several
    tiles. CHUNKS: so many along the keys, or more.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    head = tl.program_id(1).to(tl.int64)
    query += head * query_head
    key += (head // group) * key_head
    bias += head * bias_head
    lanes = tl.arange(0, KEYS)
    tile_rows: tl.constexpr = ROWS // CELL_ROWS
    tile_keys: tl.constexpr = KEYS // CELL_KEYS
    first_key = program * tile_keys * key_step
    gets = tl.zeros([CHUNKS, KEYS], tl.float32)
    seen = tl.zeros([CHUNKS, KEYS], tl.int32)
    squares = tl.zeros([ROWS], tl.float32)
    visited = tl.zeros([ROWS], tl.int32)
    for tile in range(tl.cdiv(query_cells, tile_rows)):
        pooled = tl.zeros([tile_rows, tile_keys], tl.float32)
        permitted = tl.zeros([tile_rows, tile_keys], tl.int32)
        real = tl.zeros([tile_rows], tl.int32)
        row_chunks = tl.cdiv(query_step, CELL_ROWS)
        if CAUSAL:  # nothing of what lies in the future
            row_chunks = tl.where((tile + 1) * tile_rows * query_step > first_key, row_chunks, 0)
        for row_chunk in range(row_chunks):
            rows, is_row = positions_of(tile, row_chunk, query_step, queries, ROWS, CELL_ROWS)
            counts = is_row
            if PADDING:
                counts = counts & (tl.load(padding + rows, mask=is_row, other=1) == 0)
            real = tl.maximum(real, tl.max(counts.to(tl.int32).reshape(tile_rows, CELL_ROWS), 1))
            q = load_rows(query, rows, is_row, query_row, query_column, width, WIDTH)
            normaliser = tl.load(lse + head * queries + rows, mask=is_row, other=float("inf"))
            for chunk in range(tl.cdiv(key_step, CELL_KEYS)):
                columns, is_key = positions_of(program, chunk, key_step, keys, KEYS, CELL_KEYS)
                valid = is_row[:, None] & is_key[None, :]
                k = load_rows(key, columns, is_key, key_row, key_column, width, WIDTH)
                logits, allowed = masked_logits(
                    q, k, bias, bound, rows, columns, valid, scale, softcap, bias_row, bias_key,
                    HALF, SOFTCAP, BIAS, CAUSAL,
                )  # fmt: skip
                weights = tl.where(valid, tl.exp(logits - normaliser[:, None]), 0.0)
                pooled += summed_by_cell(weights, tile_rows, CELL_ROWS, tile_keys, CELL_KEYS)
                open_cells = any_by_cell(allowed, tile_rows, CELL_ROWS, tile_keys, CELL_KEYS)
                permitted = tl.maximum(permitted, open_cells)
                used = valid & counts[:, None]
                sights = tl.max((allowed & counts[:, None]).to(tl.int32), 0)
                sums = tl.sum(tl.where(used, weights, 0.0), 0)
                is_chunk = tl.arange(0, CHUNKS)[:, None] == chunk
                gets += tl.where(is_chunk, sums[None, :], 0.0)
                seen = tl.maximum(seen, tl.where(is_chunk, sights[None, :], 0))
                differences = tl.where(used, weights - center, 0.0)
                squares += tl.sum(differences * differences, 1)
                visited += tl.sum(used.to(tl.int32), 1)
        if CELLS:
            cell_rows = tile * tile_rows + tl.arange(0, tile_rows)
            cell_keys = program * tile_keys + tl.arange(0, tile_keys)
            inside = (cell_rows < query_cells)[:, None] & (cell_keys < key_cells)[None, :]
            count = tl.minimum(query_step, queries - cell_rows * query_step)
            count = tl.maximum(count, 1).to(tl.float32)
            sign = tl.where((permitted > 0) & (real > 0)[:, None], 1.0, -1.0)
            if TRIANGLE:
                inside = inside & (cell_keys[None, :] <= cell_rows[:, None])
                starts = cell_rows * (cell_rows + 1) // 2
                place = head * (query_cells * (query_cells + 1) // 2) + starts[:, None]
                place = place + cell_keys[None, :]
            else:
                place = (head * query_cells + cell_rows)[:, None] * key_cells + cell_keys[None, :]
            values = pooled / count[:, None] * sign
            tl.store(cells + place, values.to(tl.float16), mask=inside)
    parts += (head * programs + program) * _COLUMN_LENGTH
    tl.store(parts + 0, tl.sum(squares, 0))
    tl.store(parts + 1, tl.sum(visited, 0).to(tl.float32))
    places = tl.arange(0, CHUNKS)[:, None] * CELL_KEYS + (lanes % CELL_KEYS)[None, :]
    columns = (program * tile_keys + lanes // CELL_KEYS)[None, :] * key_step + places
    inside = (places < key_step) & (columns < keys)
    signed = gets * tl.where(seen > 0, 1.0, -1.0)
    tl.store(received + head * keys + columns, signed, mask=inside)


@triton.jit
def _is_counted(signed, columns, is_key, has_sink):
    """Return which keys may be attended to, but for a first one that is a sink."""
    is_seen = signed.to(tl.int32, bitcast=True) >= 0
    return is_key & is_seen & ((columns > 0) | (has_sink == 0))


hash_first(_is_counted)


@triton.jit(do_not_specialize=["keys", "programs"])
def survey_keys(received, row_parts, parts, keys, programs, KEYS: tl.constexpr):
    """Sum up what the keys of a head receive.

    received: [heads, keys], as `survey_columns` leaves it. row_parts: [heads, programs, …], by
    `ROW_PARTS`. parts: [heads, …], by `KEY_PARTS`.
    """
    head = tl.program_id(0).to(tl.int64)
    received += head * keys
    lanes = tl.arange(0, KEYS)
    zeros = tl.zeros([KEYS], tl.float32)
    attending, total, squared, largest = zeros, zeros, zeros, zeros
    others, seen, shares = zeros, zeros, zeros
    for start in range(0, programs, KEYS):
        place = (head * programs + start + lanes) * _ROW_LENGTH + 1
        attending += tl.load(row_parts + place, mask=start + lanes < programs, other=0.0)
    rows = tl.sum(attending, 0)
    first = tl.sum(tl.load(received + lanes, mask=lanes == 0, other=0.0), 0)
    has_sink = tl.abs(first) > rows * _SINK_SHARE
    for start in range(0, keys, KEYS):
        columns = start + lanes
        signed = tl.load(received + columns, mask=columns < keys, other=-0.0)
        gets = tl.abs(signed)
        counts = _is_counted(signed, columns, columns < keys, has_sink)
        total += gets
        squared += gets * gets
        largest = tl.maximum(largest, gets)
        others += tl.where(counts, gets, 0.0)
        seen += counts.to(tl.float32)
    count, rest = tl.sum(seen, 0), tl.sum(others, 0)
    most = tl.maximum(rows, count) / tl.maximum(rest, 1e-30)
    for start in range(0, keys, KEYS):
        columns = start + lanes
        signed = tl.load(received + columns, mask=columns < keys, other=-0.0)
        counts = _is_counted(signed, columns, columns < keys, has_sink)
        shares += tl.where(counts, tl.minimum(tl.abs(signed) * most, 1.0), 0.0)
    parts += head * _KEY_LENGTH
    given = tl.sum(total, 0)
    tl.store(parts + 0, given)
    tl.store(parts + 1, tl.sum(squared, 0))
    tl.store(parts + 2, tl.where(given == given, tl.max(largest, 0), given))  # NaN is the largest
    tl.store(parts + 3, rest)
    tl.store(parts + 4, count)
    tl.store(parts + 5, tl.sum(shares, 0))
