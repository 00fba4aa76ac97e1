"""The best pairs of two sets: the linear assignment problem."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def cheapest_pairs(costs: Floats) -> list[tuple[int, int]]:
    """Pairs of rows and columns with the smallest sum of `costs`, each at most once, as many as there can be.

    Shortest augmenting paths: D. Crouse, "On implementing 2D rectangular assignment algorithms", 2016. Pairs are in the
    order of the rows. Of equally good assignments it takes the one that SciPy takes. O(rows^2 columns) for the shorter
    side as rows.
    """
    if costs.size == 0:
        return []
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in cheapest_pairs(costs.T))
    rows, columns = costs.shape
    row_prices, column_prices = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    column_of = np.full(rows, -1)
    for new_row in range(rows):
        distance = np.full(columns, np.inf)
        came_from = np.full(columns, -1)
        left = np.arange(columns)[::-1].copy()  # columns that the search has not reached
        reached: list[int] = []
        row, reach = new_row, 0.0
        while True:
            through = reach + costs[row, left] - row_prices[row] - column_prices[left]
            closer = through < distance[left]
            came_from[left[closer]] = row
            distance[left[closer]] = through[closer]
            reach = distance[left].min()
            nearest = np.flatnonzero(distance[left] == reach)
            free = nearest[row_of[left[nearest]] < 0]
            at = int(free[-1] if len(free) else nearest[0])
            column = int(left[at])
            left[at] = left[-1]
            left = left[:-1]
            if row_of[column] < 0:
                break
            reached.append(column)
            row = int(row_of[column])
        row_prices[new_row] += reach
        row_prices[row_of[reached]] += reach - distance[reached]
        column_prices[reached] -= reach - distance[reached]
        while True:
            row = int(came_from[column])
            row_of[column] = row
            column, column_of[row] = int(column_of[row]), column
            if row == new_row:
                break
    return [(row, int(column)) for row, column in enumerate(column_of)]
