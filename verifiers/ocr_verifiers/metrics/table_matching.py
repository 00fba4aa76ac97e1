"""The tables of two pages, paired, and what they are worth together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ocr_verifiers.markup.grid import Grid
from ocr_verifiers.markup.table_parsing import find_tables

MAX_TABLES = 300
"""Tables of a page that are compared at all, each with each; the rest counts as missing."""


def matched_tables(
    reference: Sequence[Grid] | str, completion: Sequence[Grid] | str, measure: Callable[[Grid, Grid], float]
) -> float:
    """The similarity of the tables of two pages, in [0, 1]: `measure` of matching tables, weighted by their cells.

    Tables are matched in order, by the cells that they share. The cells of both sides have equal weight: a missing or
    extra table costs its share of all cells. It is 1 if neither side has a table and 0 if only one does.
    """
    left, right = grids_of(reference), grids_of(completion)
    if not left or not right:
        return float(not left and not right)
    if [grid.rows for grid in left] == [grid.rows for grid in right]:
        return 1.0
    total = sum(len(grid.cells) for grid in (*left, *right))
    if not total:
        return 1.0
    matched = 0.0
    for a, b in _matching(left[:MAX_TABLES], right[:MAX_TABLES]):
        matched += measure(left[a], right[b]) * (len(left[a].cells) + len(right[b].cells))
    return min(1.0, matched / total)


def grids_of(tables: Sequence[Grid] | str) -> Sequence[Grid]:
    """The tables of a text, if it is one."""
    return find_tables(tables).grids if isinstance(tables, str) else tables


def first_grid(table: Grid | str) -> Grid | None:
    """The table itself, or the first one of a text; None if it has none, or one without cells."""
    grid = next(iter(grids_of(table)), None) if isinstance(table, str) else table
    return grid if grid is not None and grid.cells else None


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
