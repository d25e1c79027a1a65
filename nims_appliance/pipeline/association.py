"""Association: which detection belongs to which track, as one optimal assignment."""

from __future__ import annotations

import numpy as np


def assign(cost: np.ndarray) -> np.ndarray:
    """Return for each row the column that it is given, or -1, with the least possible sum of costs.

    A pair is only made where its cost is negative: zero is the price of leaving a row or a column alone, and infinite
    costs are forbidden pairs. Shortest augmenting paths (Jonker & Volgenant 1987) with one private column per row that
    means "alone"; O(rows^2 columns).

    Args:
      cost: float64, shape (rows, columns); no NaN.
    """
    rows, columns = cost.shape
    given = np.full(rows, -1, dtype=np.intp)
    if not rows or not columns:
        return given
    wide = np.full((rows, columns + rows), np.inf)
    wide[:, :columns] = np.where(cost < 0, cost, np.inf)
    wide[np.arange(rows), columns + np.arange(rows)] = 0.0
    total = columns + rows
    row_price, column_price = np.zeros(rows), np.zeros(total)
    owner = np.full(total, -1, dtype=np.intp)
    for start in range(rows):
        distance = np.full(total, np.inf)
        before = np.full(total, -1, dtype=np.intp)
        done = np.zeros(total, dtype=bool)
        row, reached, last = start, 0.0, -1
        while True:
            through = reached + wide[row] - row_price[row] - column_price
            better = ~done & (through < distance)
            distance[better] = through[better]
            before[better] = row
            last = int(np.argmin(np.where(done, np.inf, distance)))
            reached = distance[last]
            done[last] = True
            if owner[last] < 0:
                break
            row = int(owner[last])
        scanned = np.flatnonzero(done)
        row_price[start] += reached
        for column in scanned:
            if owner[column] >= 0:
                row_price[owner[column]] += reached - distance[column]
            column_price[column] -= reached - distance[column]
        while True:
            row = int(before[last])
            owner[last], last_of_row = row, np.flatnonzero(owner == row)
            previous = [c for c in last_of_row if c != last]
            if row == start:
                break
            last = previous[0]
    for column in range(columns):
        if owner[column] >= 0:
            given[owner[column]] = column
    return given
