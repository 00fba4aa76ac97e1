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

Nodes are numbered in post-order: the cells of a row before the row. Some rows of A are treated at a time, against all
of B at once: time is O(nodes of A * nodes of B), memory O(longest row of A * nodes of B + AT_ONCE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ocr_verifiers.markup.grid import Cell

Floats = npt.NDArray[np.float64]
Rows = Sequence[Sequence[Cell]]
AT_ONCE = 500_000
"""Pairs of nodes."""

Costs = npt.NDArray[np.float32]
RowCosts = Callable[[Sequence[Cell]], Costs]
"""The costs of renaming each of some cells of A to each cell of B, in [0, 1]."""


def tree_distance(a: Rows, b: Rows, cell_costs: Callable[[Sequence[Cell]], RowCosts]) -> float:
    """The edit distance of two tables; `cell_costs` is called once, with all cells of B.

    Equal rows at the beginning and the end are left out, which changes nothing: a mapping keeps the order of the
    nodes, so one that does not map such a row to its like is no cheaper. Of tables with rows of the same lengths, a
    mapping other than cell to cell deletes and inserts a node, which costs 2.
    """
    a, b = _without_equal_ends(a, b)
    cells = [cell for row in b for cell in row]
    n = len(cells) + len(b)
    costs_of = cell_costs(cells)
    chunks = list(_chunks(a, n))
    costs = costs_of([cell for row in chunks[0] for cell in row])
    if len(chunks) == 1 and list(map(len, a)) == list(map(len, b)):
        cell_to_cell = float(costs.trace(dtype=np.float64))
        if cell_to_cell <= 2:
            return cell_to_cell
    lengths = np.array([len(row) for row in b], dtype=np.intp)
    row_nodes = np.cumsum(lengths + 1) - 1
    is_row = np.zeros(n, dtype=bool)
    is_row[row_nodes] = True
    cell_nodes = np.flatnonzero(~is_row)
    before = np.arange(n, dtype=np.intp)  # the number of nodes before the subtree of each node
    before[row_nodes] = row_nodes - lengths
    sizes = np.arange(1, n + 1) - before
    sequences = _Sequences(lengths)
    # A forest is kept as F(i, j) - j, so that insertions from the left are a running minimum.
    forest = np.zeros(n + 1)
    for number, rows in enumerate(chunks):
        if number:
            costs = costs_of([cell for row in rows for cell in row])
        distances = np.empty((len(costs), n))
        distances[:, cell_nodes] = costs
        distances[:, row_nodes] = lengths + sequences.least(costs)
        distances -= sizes
        of_rows = sequences.distances(costs, [len(row) for row in rows])
        at = 0
        for row, of_row in zip(rows, of_rows, strict=True):
            start, end = forest, at + len(row)
            for of_cell in distances[at:end]:
                forest = _next(forest, forest[before] + of_cell)
            subtrees = np.empty(n)
            subtrees[cell_nodes] = len(row) + costs[at:end].min(axis=0, initial=1.0)
            subtrees[row_nodes] = of_row
            forest = _next(forest, start[before] + (subtrees - sizes))
            at = end
    return float(forest[-1]) + n


def _without_equal_ends(a: Rows, b: Rows) -> tuple[Rows, Rows]:
    start, shorter = 0, min(len(a), len(b))
    while start < shorter and a[start] == b[start]:
        start += 1
    end = 0
    while end < shorter - start and a[len(a) - 1 - end] == b[len(b) - 1 - end]:
        end += 1
    return a[start : len(a) - end], b[start : len(b) - end]


def _chunks(rows: Rows, nodes: int) -> Iterator[Rows]:
    """Rows with about AT_ONCE pairs with so many nodes."""
    start = pairs = 0
    for end, row in enumerate(rows):
        pairs += (len(row) + 1) * nodes
        if pairs > AT_ONCE and end > start:
            yield rows[start:end]
            start, pairs = end, (len(row) + 1) * nodes
    yield rows[start:]


def _next(above: Floats, joined: Floats) -> Floats:
    """The row of the forest table below `above`."""
    row = above + 1
    np.minimum(row[1:], joined, out=row[1:])
    np.minimum.accumulate(row, out=row)
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

    def least(self, costs: Costs) -> Floats:
        """For each cell of A and row of B the least cost of renaming the cell to a node of the row; 1 for the row."""
        least = np.ones((len(costs), self._count))
        for rows, cells, real in self._blocks:
            if real.size:
                least[:, rows] = np.where(real, costs[:, cells], 1.0).min(axis=2, initial=1.0)
        return least

    def distances(self, costs: Costs, lengths: Sequence[int]) -> Floats:
        """The edit distance of the cells of each row of A to those of each row of B.

        `costs` are of the cells of A, row after row, against all cells of B, and `lengths` those of the rows of A.
        """
        of_a = np.array(lengths, dtype=np.intp)
        starts = np.cumsum(of_a) - of_a
        longest_first = np.argsort(-of_a, kind="stable")
        starts, longest = starts[longest_first, None, None], int(of_a.max(initial=0))
        longer = [int(np.count_nonzero(of_a > place)) for place in range(longest)]
        found = np.zeros((len(of_a), self._count))
        for rows, cells, real in self._blocks:
            table = np.zeros((len(of_a), len(rows), cells.shape[1] + 1))  # less the column's number
            for place, count in enumerate(longer):
                above = table[:count]
                below = above + 1
                joined = costs[starts[:count] + place, cells] - np.float64(1)
                np.minimum(below[:, :, 1:], above[:, :, :-1] + joined, out=below[:, :, 1:])
                np.minimum.accumulate(below, axis=2, out=above)
            filled = np.count_nonzero(real, axis=1)
            found[longest_first[:, None], rows] = table[:, np.arange(len(rows)), filled] + filled
        return found
