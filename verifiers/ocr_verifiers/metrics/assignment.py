"""The best pairs of two sets: the linear assignment problem."""

from __future__ import annotations

from math import inf

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_WIDE = 150
"""Columns from which on arrays are faster than lists."""


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
    return clear_pairs(costs) or list(enumerate(_narrow(costs.tolist()) if costs.shape[1] < _WIDE else _wide(costs)))


def clear_pairs(costs: Floats) -> list[tuple[int, int]] | None:
    """The cheapest pairs if each row (or column, if these are fewer) has one cheaper than all others; else None.

    Costs that are not the lowest of such a row or column need not be known: any larger number will do.
    """
    if costs.shape[0] > costs.shape[1]:
        pairs = clear_pairs(costs.T)
        return pairs and sorted((row, column) for column, row in pairs)
    costs_of = costs.tolist()
    lowest = [(row, min(row)) for row in costs_of]
    columns = [row.index(cost) for row, cost in lowest]
    if len(set(columns)) < len(columns) or any(row.count(cost) > 1 for row, cost in lowest):
        return None
    return list(enumerate(columns))


def _narrow(costs: list[list[float]]) -> list[int]:
    """The column of each row, by lists: faster for short rows."""
    rows, columns = len(costs), len(costs[0])
    row_prices, column_prices = [0.0] * rows, [0.0] * columns
    row_of, column_of = [-1] * columns, [-1] * rows
    for new_row in range(rows):
        distance, came_from = [inf] * columns, [-1] * columns
        left = list(range(columns - 1, -1, -1))  # columns that the search has not reached
        reached: list[int] = []
        row, reach = new_row, 0.0
        while True:
            before, price, row_costs = reach, row_prices[row], costs[row]
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
    return column_of


def _wide(costs: Floats) -> list[int]:
    """The same by arrays."""
    rows, columns = costs.shape
    row_prices, column_prices = np.zeros(rows), np.zeros(columns)
    row_of, column_of = np.full(columns, -1), np.full(rows, -1)
    for new_row in range(rows):
        distance, came_from = np.full(columns, inf), np.full(columns, -1)
        left = np.arange(columns)[::-1].copy()
        reached: list[int] = []
        row, reach = new_row, 0.0
        while True:
            known = distance[left]
            through = reach + costs[row, left] - row_prices[row] - column_prices[left]
            closer = through < known
            came_from[left[closer]] = row
            known = np.minimum(known, through)
            distance[left] = known
            reach = float(known.min())
            nearest = np.flatnonzero(known == reach)
            free = nearest[row_of[left[nearest]] < 0]
            at = free[-1] if len(free) else nearest[0]
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
    found: list[int] = column_of.tolist()
    return found
