"""The cells of a grid, against a loop over positions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attnmon_renderer.analysis.arrays import Rows
from attnmon_renderer.analysis.pooling_grid import PoolingGrid

LENGTHS = st.integers(1, 40)


@given(queries=LENGTHS, keys=LENGTHS, side=st.integers(1, 50))
def test_a_grid_is_the_finest_that_fits(queries: int, keys: int, side: int) -> None:
    grid = PoolingGrid.of_side(queries, keys, side)
    for length, step, cells in zip(
        (queries, keys), (grid.query_step, grid.key_step), grid.shape, strict=True
    ):
        assert cells == len(range(0, length, step)) <= side
        assert step == 1 or len(range(0, length, step - 1)) > side
    counts = [len(range(start, min(start + grid.query_step, queries)))
              for start in range(0, queries, grid.query_step)]  # fmt: skip
    assert grid.queries_in_cells.tolist() == counts


@given(queries=LENGTHS, side=st.integers(1, 9), data=st.data())
def test_split_pieces_are_the_rows_of_each_cell(
    queries: int, side: int, data: st.DataObject
) -> None:
    grid = PoolingGrid.of_side(queries, 5, side)
    first = data.draw(st.integers(0, queries - 1))
    rows = Rows(np.arange(first, data.draw(st.integers(first + 1, queries))))
    values = np.random.default_rng(queries).random((2, len(rows), 5))
    pieces = grid.split(values, rows, axis=1)
    assert len(pieces) <= 3
    found = np.concatenate([piece.sum(axis=2) for piece in pieces], axis=1)
    cells = rows.indices // grid.query_step
    expected = [values[:, cells == cell].sum(axis=1) for cell in np.unique(cells)]
    np.testing.assert_allclose(found, np.stack(expected, axis=1))
    region, _ = grid.cells_of(rows, 5)
    assert list(range(region.start, region.stop)) == np.unique(cells).tolist()


@given(keys=LENGTHS, side=st.integers(1, 50))
def test_keys_are_reduced_cell_by_cell(keys: int, side: int) -> None:
    grid = PoolingGrid.of_side(3, keys, side)
    values = np.random.default_rng(keys).random((2, 3, keys), np.float32)
    cells = [values[..., start : start + grid.key_step] for start in range(0, keys, grid.key_step)]
    sums = np.stack([cell.sum(axis=-1) for cell in cells], axis=-1)
    np.testing.assert_allclose(grid.sum_keys(values), sums, rtol=1e-5)
    maxima = np.stack([cell.max(axis=-1) for cell in cells], axis=-1)
    np.testing.assert_array_equal(grid.reduce_keys(np.maximum, values), maxima)
