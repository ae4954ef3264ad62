"""Finds which head of one layer is which head of another: the pairing of least total distance."""

import numpy as np

from attnmon_renderer.analysis.arrays import Booleans, Doubles, Integers


def assign(costs: Doubles) -> Integers:
    """Return each row's column: all different, and the sum of their costs is the least there is.

    The Hungarian method with potentials, in O(rows² · columns): Kuhn 1955, Munkres 1957.

    Args:
        costs: [rows, columns], at most as many rows as columns, all finite.

    Raises:
        ValueError: There are more rows than columns, or a cost is not finite.
    """
    rows, columns = costs.shape
    if rows > columns or not np.isfinite(costs).all():
        raise ValueError(f"{rows} rows for {columns} columns, or a cost that is not finite")
    state = _Pairing(costs)
    for row in range(rows):
        state.add(row)
    chosen = np.empty(rows, np.intp)
    taken = state.row_of >= 0
    chosen[state.row_of[taken]] = np.flatnonzero(taken)
    return chosen


class _Pairing:
    """An optimal pairing of the rows that were added so far, with the potentials that prove it."""

    def __init__(self, costs: Doubles) -> None:
        self._costs = costs
        self._of_row = np.zeros(costs.shape[0])
        self._of_column = np.zeros(costs.shape[1])
        self.row_of = np.full(costs.shape[1], -1)
        """The row of each column; −1 for none."""

    def add(self, row: int) -> None:
        """Pair one more row, by the cheapest path of changes to a column that is free."""
        columns = len(self.row_of)
        least, before = np.full(columns, np.inf), np.full(columns, -1)
        seen = np.zeros(columns, bool)
        at, column = row, -1
        while True:
            reduced = self._costs[at] - self._of_row[at] - self._of_column
            nearer = ~seen & (reduced < least)
            least[nearer], before[nearer] = reduced[nearer], column
            column = int(np.argmin(np.where(seen, np.inf, least)))
            self._lower(least, seen, row, float(least[column]))
            seen[column] = True
            if self.row_of[column] < 0:
                break
            at = int(self.row_of[column])
        self._follow_back(column, before, row)

    def _lower(self, least: Doubles, seen: Booleans, row: int, by: float) -> None:
        self._of_row[row] += by
        self._of_row[self.row_of[seen]] += by
        self._of_column[seen] -= by
        least[~seen] -= by

    def _follow_back(self, column: int, before: Integers, row: int) -> None:
        while (earlier := int(before[column])) >= 0:
            self.row_of[column] = self.row_of[earlier]
            column = earlier
        self.row_of[column] = row
