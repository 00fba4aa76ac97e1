"""The best pairs of two sets: the linear assignment problem."""

from __future__ import annotations

from math import inf

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
    costs_of = costs.tolist()
    row_prices, column_prices = [0.0] * rows, [0.0] * columns
    row_of, column_of = [-1] * columns, [-1] * rows
    for new_row in range(rows):
        distance, came_from = [inf] * columns, [-1] * columns
        left = list(range(columns - 1, -1, -1))  # columns that the search has not reached
        reached: list[int] = []
        row, reach = new_row, 0.0
        while True:
            before, price, row_costs = reach, row_prices[row], costs_of[row]
            nearest, reach = -1, inf
            for at, column in enumerate(left):
                through = before + row_costs[column] - price - column_prices[column]
                if through < distance[column]:
                    distance[column] = through
                    came_from[column] = row
                if distance[column] < reach or (distance[column] == reach and row_of[column] < 0):
                    nearest, reach = at, distance[column]
            column = left[nearest]
            left[nearest] = left[-1]
            left.pop()
            if row_of[column] < 0:
                break
            reached.append(column)
            row = row_of[column]
        row_prices[new_row] += reach
        for other in reached:
            row_prices[row_of[other]] += reach - distance[other]
            column_prices[other] -= reach - distance[other]
        while True:
            row = came_from[column]
            row_of[column] = row
            column, column_of[row] = column_of[row], column
            if row == new_row:
                break
    return list(enumerate(column_of))
