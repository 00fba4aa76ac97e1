"""The edit distance of two tables as trees: table -> rows -> cells.

After K. Zhang and D. Shasha, SIAM J. Comput. 18(6), 1989.

Inserting or deleting a node costs 1, and renaming a cell what `cell_costs` says. Renaming a row to a row costs nothing,
and anything else costs 1. If a row is deleted, its cells become children of the table.

Trees of this depth need no recursion. With A's rows a, B's rows b, |a| cells in a row, and r(c, d) the cost of renaming
cell c to d, the distances of subtrees are

    d(c, d) = r(c, d)
    d(c, b) = |b| + min(1, min over d in b of r(c, d)),     d(a, d) in the same way
    d(a, b) = edit distance of the sequences of cells

and the distance of the tables is that of their forests, in which each node either goes, comes, or is matched together
with its subtree:

    F(i, j) = min(F(i - 1, j) + 1, F(i, j - 1) + 1, F(before subtree i, before subtree j) + d(i, j))

Nodes are numbered in post-order: the cells of a row before the row. One row of A is treated at a time, against all of
B at once: time is O(cells of A * cells of B), memory O(longest row of A * cells of B).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ocr_verifiers.markup.grid import Cell

Floats = npt.NDArray[np.float64]
Rows = Sequence[Sequence[Cell]]
Costs = npt.NDArray[np.float32]
RowCosts = Callable[[Sequence[Cell]], Costs]
"""The costs of renaming each cell of a row of A to each cell of B, in [0, 1]."""


def tree_distance(a: Rows, b: Rows, cell_costs: Callable[[Sequence[Cell]], RowCosts]) -> float:
    """The edit distance of two tables; `cell_costs` is called once, with all cells of B."""
    lengths = np.array([len(row) for row in b], dtype=np.intp)
    cells = [cell for row in b for cell in row]
    row_nodes = np.cumsum(lengths + 1) - 1
    n = len(cells) + len(b)
    is_row = np.zeros(n, dtype=bool)
    is_row[row_nodes] = True
    cell_nodes = np.flatnonzero(~is_row)
    before = np.arange(n, dtype=np.intp)  # the number of nodes before the subtree of each node
    before[row_nodes] = row_nodes - lengths
    steps = np.arange(n + 1, dtype=np.float64)
    sequences = _Sequences(lengths)
    costs_of = cell_costs(cells)
    forest = steps.copy()
    for row in a:
        costs = costs_of(row)
        start = forest
        for cost in costs:
            distances = np.empty(n)
            distances[cell_nodes] = cost
            distances[row_nodes] = lengths + sequences.least(cost)
            forest = _next(forest, forest[before] + distances, steps)
        distances = np.empty(n)
        least = costs.min(axis=0, initial=1.0) if len(row) else np.ones(len(cells))
        distances[cell_nodes] = len(row) + least
        distances[row_nodes] = sequences.distances(costs)
        forest = _next(forest, start[before] + distances, steps)
    return float(forest[-1])


def _next(above: Floats, joined: Floats, steps: Floats) -> Floats:
    """The row of the forest table below `above`; insertions from the left are a running minimum."""
    row = np.empty_like(above)
    row[0] = above[0] + 1
    np.minimum(joined, above[1:] + 1, out=row[1:])
    row -= steps
    np.minimum.accumulate(row, out=row)
    row += steps
    return row


class _Sequences:
    """The rows of B as sequences of cells, padded to blocks of similar length so that they are compared together."""

    def __init__(self, lengths: npt.NDArray[np.intp]) -> None:
        self._count = len(lengths)
        self._blocks: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.bool_]]] = []
        """The rows of a block, and for each place in it the cell of B, and whether there is one."""
        starts = np.cumsum(lengths) - lengths
        order = np.argsort(lengths, kind="stable")
        at = 0
        while at < len(order):
            widest = max(1, 2 * int(lengths[order[at]]))
            end = at + int(np.searchsorted(lengths[order[at:]], widest, side="right"))
            rows = order[at:end]
            places = np.arange(int(lengths[rows].max()))
            real = places[None] < lengths[rows][:, None]
            self._blocks.append((rows, np.where(real, starts[rows][:, None] + places[None], 0), real))
            at = end

    def least(self, cost: Costs) -> Floats:
        """For each row the least cost of renaming one cell to a node of it; 1 for the row itself."""
        least = np.ones(self._count)
        for rows, cells, real in self._blocks:
            if real.size:
                least[rows] = np.where(real, cost[cells], 1.0).min(axis=1, initial=1.0)
        return least

    def distances(self, costs: Costs) -> Floats:
        """The edit distance of the cells of a row of A, with their `costs` against all cells of B, to each row of B."""
        found = np.zeros(self._count)
        for rows, cells, real in self._blocks:
            width = cells.shape[1]
            steps = np.arange(width + 1, dtype=np.float64)
            table = np.tile(steps, (len(rows), 1))
            for cost in costs:
                above = table
                table = np.empty_like(above)
                table[:, 0] = above[:, 0] + 1
                if width:
                    np.minimum(above[:, :-1] + cost[cells], above[:, 1:] + 1, out=table[:, 1:])
                table -= steps
                np.minimum.accumulate(table, axis=1, out=table)
                table += steps
            found[rows] = table[np.arange(len(rows)), real.sum(axis=1)]
        return found
