"""TEDS: the similarity of two tables, or of the tables of two pages.

    TEDS(A, B) = 1 - distance(A, B) / max(|A|, |B|)

X. Zhong et al., "Image-based table recognition: data, model, and evaluation", 2020 (arXiv 1911.10683). The distance
is the tree edit distance: table -> rows -> cells. Inserting or deleting a node costs 1. Renaming a cell costs the
Levenshtein distance of the texts divided by the longer length, or 1 if their spans differ; renaming a row to a row
costs nothing, and anything else costs 1. TEDS-struct ignores the texts.

What it is not: `<thead>`, `<tbody>` and the difference between `<th>` and `<td>` are ignored, since markdown cannot
express them; |A| counts rows and cells but not the table itself, like the paper's code. Texts are compared as in table
tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup.grid import Cell, Grid
from ocr_verifiers.markup.table_parsing import find_tables

MAX_CELLS = 400
"""For larger tables, TEDS takes more than a second; their cells are compared as one sequence instead."""
MAX_SEQUENCE = 20_000
"""Cells of a table that are compared at all; the rest counts as missing."""
MAX_TABLES = 300
"""Tables of a page that are compared at all, each with each; the rest counts as missing."""

Floats = npt.NDArray[np.float64]


def teds(reference: Grid | str, completion: Grid | str, structure_only: bool = False) -> float:
    """The similarity of two tables, in [0, 1]. Of a text, the first table is used.

    It is 1 if neither side has a table and 0 if only one does. If a table has more than MAX_CELLS cells, the two are
    compared as sequences of cells and row ends: 1 - edits / length of the longer one, with cells equal or not.
    """
    a, b = _rows(reference), _rows(completion)
    if not a or not b:
        return float(not a and not b)
    if a == b:
        return 1.0
    if max(_cells(a), _cells(b)) > MAX_CELLS:
        return _sequence_similarity(a, b, structure_only)
    nodes = max(len(a) + _cells(a), len(b) + _cells(b))
    return max(0.0, 1 - _tree_distance(a, b, structure_only) / nodes)


def tables_similarity(
    reference: Sequence[Grid] | str, completion: Sequence[Grid] | str, structure_only: bool = False
) -> float:
    """The similarity of the tables of two pages, in [0, 1]: TEDS of matching tables, weighted by their cells.

    Tables are matched in order, by the cells that they share. The cells of both sides have equal weight: a missing or
    extra table costs its share of all cells.
    """
    left, right = _grids(reference), _grids(completion)
    if not left or not right:
        return float(not left and not right)
    total = sum(len(grid.cells) for grid in (*left, *right))
    if not total:
        return 1.0
    matched = 0.0
    for a, b in _matching(left[:MAX_TABLES], right[:MAX_TABLES]):
        matched += teds(left[a], right[b], structure_only) * (len(left[a].cells) + len(right[b].cells))
    return min(1.0, matched / total)


Rows = list[list[Cell]]


def _grids(tables: Sequence[Grid] | str) -> Sequence[Grid]:
    return find_tables(tables).grids if isinstance(tables, str) else tables


def _rows(table: Grid | str) -> Rows:
    if isinstance(table, str):
        grids = find_tables(table).grids
        return grids[0].rows if grids else []
    return table.rows


def _cells(rows: Rows) -> int:
    return sum(map(len, rows))


def _tree_distance(a: Rows, b: Rows, structure_only: bool) -> float:
    """The edit distance of two ordered trees: K. Zhang and D. Shasha, SIAM J. Comput. 18(6), 1989.

    Nodes are numbered in post-order: the cells of a row before the row, the table last. distance[i, j] is the distance
    of the subtrees of i and j; first[i] is the first node below i. A cell's subtree is the cell itself: its distance
    from any subtree is the number of other nodes there plus the cheapest renaming, which needs no recursion.
    """
    rename = _rename_costs(a, b, structure_only)
    first_a, first_b = _first_nodes(a), _first_nodes(b)
    m, n = rename.shape
    distance = np.empty((m, n))
    for i in range(m):
        if first_a[i] == i and i < m - 1:
            distance[i] = [rename[i, f : j + 1].min() + j - f for j, f in enumerate(first_b)]
    for j in range(n):
        if first_b[j] == j and j < n - 1:
            distance[:, j] = [rename[f : i + 1, j].min() + i - f for i, f in enumerate(first_a)]
    first_b_array = np.array(first_b)
    inner_a = [i for i, f in enumerate(first_a) if f < i or i == m - 1]
    inner_b = [j for j, f in enumerate(first_b) if f < j or j == n - 1]
    for i in inner_a:
        for j in inner_b:
            _forest_distances(distance, rename, first_a, first_b_array, i, j)
    return float(distance[m - 1, n - 1])


def _forest_distances(
    distance: Floats, rename: Floats, first_a: list[int], first_b: npt.NDArray[np.intp], i: int, j: int
) -> None:
    """Fills in distance[i, j], and the distances of subtrees that begin where those of i and j begin.

    forest[x, y] is the distance between the first x nodes below i and the first y below j. A whole row is computed at
    once: the dependence on the left neighbour is a running minimum.
    """
    start_a, start_b = first_a[i], int(first_b[j])
    width = j - start_b + 1
    steps = np.arange(width + 1, dtype=np.float64)
    forest = np.empty((i - start_a + 2, width + 1))
    forest[0] = steps
    columns = first_b[start_b : j + 1] - start_b
    whole_b = columns == 0
    for x in range(1, i - start_a + 2):
        node = start_a + x - 1
        offset = first_a[node] - start_a
        joined = forest[offset, columns] + distance[node, start_b : j + 1]
        if offset == 0:
            joined[whole_b] = (forest[x - 1, :-1] + rename[node, start_b : j + 1])[whole_b]
        row = forest[x]
        row[0] = x
        row[1:] = np.minimum(joined, forest[x - 1, 1:] + 1)
        np.minimum.accumulate(row - steps, out=row)
        row += steps
        if offset == 0:
            distance[node, start_b : j + 1][whole_b] = row[1:][whole_b]


def _rename_costs(a: Rows, b: Rows, structure_only: bool) -> Floats:
    """The cost of renaming node i to node j; nodes in post-order."""
    m, n = len(a) + _cells(a) + 1, len(b) + _cells(b) + 1
    costs = np.ones((m, n))
    rows_a, rows_b = _row_nodes(a), _row_nodes(b)
    costs[np.ix_(rows_a, rows_b)] = 0
    costs[m - 1, n - 1] = 0
    cells_a, cells_b = _cell_nodes(a), _cell_nodes(b)
    if not len(cells_a) or not len(cells_b):
        return costs
    left, right = [c for row in a for c in row], [c for row in b for c in row]
    spans_a = np.array([(c.rowspan, c.colspan) for c in left], dtype=object)
    spans_b = np.array([(c.rowspan, c.colspan) for c in right], dtype=object)
    different = (spans_a[:, None] != spans_b[None]).any(axis=2)
    texts: Floats = np.zeros((len(left), len(right)))
    if not structure_only:
        texts = process.cdist(
            [c.text for c in left],
            [c.text for c in right],
            scorer=Levenshtein.normalized_distance,
            dtype=np.float64,
        )
    costs[np.ix_(cells_a, cells_b)] = np.where(different, 1.0, texts)
    return costs


def _row_nodes(rows: Rows) -> list[int]:
    return [end - 1 for end in accumulate(len(row) + 1 for row in rows)]


def _cell_nodes(rows: Rows) -> list[int]:
    ends = set(_row_nodes(rows))
    return [node for node in range(len(rows) + _cells(rows)) if node not in ends]


def _first_nodes(rows: Rows) -> list[int]:
    first: list[int] = []
    for row in rows:
        start = len(first)
        first.extend(range(start, start + len(row)))
        first.append(start)
    first.append(0)
    return first


def _sequence(rows: Rows, structure_only: bool) -> list[object]:
    sequence: list[object] = []
    for row in rows:
        sequence.extend(("" if structure_only else cell.text, cell.rowspan, cell.colspan) for cell in row)
        sequence.append(None)
        if len(sequence) > MAX_SEQUENCE:
            break
    return sequence[:MAX_SEQUENCE]


def _sequence_similarity(a: Rows, b: Rows, structure_only: bool = False) -> float:
    left, right = _sequence(a, structure_only), _sequence(b, structure_only)
    longer = max(len(a) + _cells(a), len(b) + _cells(b))
    compared = max(len(left), len(right))
    return (compared - Levenshtein.distance(left, right)) / longer


def _matching(left: Sequence[Grid], right: Sequence[Grid]) -> list[tuple[int, int]]:
    """The pairs, in order, that share the most cells (weighted longest common subsequence).

    A single table on each side is always a pair; pairs that share no cell fill the gaps between other pairs.
    """
    texts = [[Counter(cell.text for cell in grid.cells) for grid in grids] for grids in (left, right)]
    # A hundredth of a cell for pairs that share none, so that tables in the same place are paired.
    best = np.zeros((len(left) + 1, len(right) + 1))
    gain = np.array([[0.01 + sum((a & b).values()) for b in texts[1]] for a in texts[0]])
    for x in range(len(left)):
        for y in range(len(right)):
            best[x + 1, y + 1] = max(best[x, y] + gain[x, y], best[x, y + 1], best[x + 1, y])
    pairs = []
    x, y = len(left), len(right)
    while x and y:
        if best[x, y] == best[x - 1, y]:
            x -= 1
        elif best[x, y] == best[x, y - 1]:
            y -= 1
        else:
            x, y = x - 1, y - 1
            pairs.append((x, y))
    return pairs[::-1]
