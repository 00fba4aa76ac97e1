r"""GriTS: the similarity of two tables as grids of cells, by content and by topology.

    GriTS_f(A, B) = 2 sum over i, j of f(A'[i, j], B'[i, j]) / (|A| + |B|)

B. Smock et al., "GriTS: Grid table similarity metric for table structure recognition", 2023 (arXiv 2203.12555).
A table is a matrix in which a cell stands at each place that it covers; |A| is the number of places. A' and B' are the
most similar substructures, some rows and columns of each, by the paper's factored approximation: the rows of A' and B'
come from an alignment of rows, in which a pair of rows is worth the best alignment of its places, and the columns from
an alignment of columns in the same way.

f of GriTS_Con is the length of the longest common subsequence of two texts / the length of the longer one, and that of
GriTS_Top the intersection over union of two rectangles: those of the cells, in rows and columns relative to the place.
Union is the smallest rectangle around both, as in the paper's code.

What it is not: GriTS_Loc, which needs boxes on the page. The paper says no more than "normalised" of the longest common
subsequence, and its code takes matching blocks / mean length instead. A place without a cell is one empty cell. Texts
are compared as in table tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from ocr_verifiers.markup.grid import Grid
from ocr_verifiers.metrics.table_matching import first_grid, matched_tables

MAX_PLACES = 5_000
"""Places of a table that are compared, which takes about two seconds: its first rows. The rest counts as missing."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
"""Rows x columns: what stands at each place, as a row or a column of the rewards."""


class GriTS(NamedTuple):
    """The similarity of two tables, in [0, 1]."""

    con: float
    """Of the texts of the cells."""
    top: float
    """Of their spans."""


def grits(reference: Grid | str, completion: Grid | str) -> GriTS:
    """GriTS_Con and GriTS_Top of two tables; of a text, the first table is used.

    Both are 1 if neither side has a table with cells, and 0 if only one does.
    """
    return GriTS(grits_con(reference, completion), grits_top(reference, completion))


def grits_con(reference: Grid | str, completion: Grid | str) -> float:
    """GriTS_Con of two tables, in [0, 1]."""
    return _grits(reference, completion, _texts, _common_subsequences)


def grits_top(reference: Grid | str, completion: Grid | str) -> float:
    """GriTS_Top of two tables, in [0, 1]."""
    return _grits(reference, completion, _spans, _intersections)


def tables_grits(reference: Sequence[Grid] | str, completion: Sequence[Grid] | str) -> GriTS:
    """GriTS of the tables of two pages, see `matched_tables`."""
    return GriTS(matched_tables(reference, completion, grits_con), matched_tables(reference, completion, grits_top))


Rectangle = tuple[int, int, int, int]
"""Left, top, right and bottom, from the place, in columns and rows."""
Value = TypeVar("Value", str, Rectangle)


def _grits(
    reference: Grid | str,
    completion: Grid | str,
    values: Callable[[Grid, list[list[int]]], list[list[Value]]],
    similarity: Callable[[list[Value], list[Value]], Floats],
) -> float:
    a, b = first_grid(reference), first_grid(completion)
    if a is None or b is None:
        return float(a is b)
    if a.rows == b.rows:
        return 1.0
    sides: list[tuple[Places, list[Value]]] = []
    for grid in (a, b):
        known: dict[Value, int] = {}
        written = values(grid, grid.places(*_compared(grid)))
        sides.append((np.array([[known.setdefault(v, len(known)) for v in row] for row in written]), list(known)))
    (first, texts), (second, others) = sides
    rewards = similarity(texts, others)
    rows, other_rows = _aligned(first, second, rewards)
    columns, other_columns = _aligned(first.T, second.T, rewards)
    matched = rewards[first[rows][:, columns], second[other_rows][:, other_columns]].sum()
    return float(2 * matched / sum(height * width for height, width in (a.shape, b.shape)))


def _compared(grid: Grid) -> tuple[int, int]:
    height, width = grid.shape
    columns = min(width, MAX_PLACES)
    return min(height, max(1, MAX_PLACES // max(1, columns))), columns


def _texts(grid: Grid, places: list[list[int]]) -> list[list[str]]:
    return [[grid.cells[cell].text if cell >= 0 else "" for cell in row] for row in places]


def _spans(grid: Grid, places: list[list[int]]) -> list[list[Rectangle]]:
    def span(cell: int, row: int, column: int) -> Rectangle:
        if cell < 0:
            return (0, 0, 1, 1)
        top, left = grid.first_place(cell)
        _, _, rowspan, colspan, _ = grid.cells[cell]
        return (left - column, top - row, left + colspan - column, top + rowspan - row)

    return [[span(cell, r, c) for c, cell in enumerate(row)] for r, row in enumerate(places)]


def _common_subsequences(texts: list[str], others: list[str]) -> Floats:
    found: Floats = process.cdist(texts, others, scorer=LCSseq.normalized_similarity, dtype=np.float64)
    return found


def _intersections(rectangles: list[Rectangle], others: list[Rectangle]) -> Floats:
    a, b = np.array(rectangles)[:, None], np.array(others)[None]
    inner = np.minimum(a, b)[..., 2:] - np.maximum(a, b)[..., :2]
    outer = np.maximum(a, b)[..., 2:] - np.minimum(a, b)[..., :2]
    # All rectangles cover the place itself, so that both areas are positive.
    found: Floats = inner.prod(axis=-1) / outer.prod(axis=-1)
    return found


def _aligned(first: Places, second: Places, rewards: Floats) -> tuple[list[int], list[int]]:
    """The rows of both that the best alignment pairs; a pair is worth the best alignment of its places."""
    worth = np.empty((len(first), len(second)))
    for row, places in enumerate(first):
        best = np.zeros((len(second), second.shape[1] + 1))
        for place in places:
            best = _next(best, rewards[place][second])
        worth[row] = best[:, -1]
    table = np.zeros((len(first) + 1, len(second) + 1))
    for row in range(len(first)):
        table[row + 1] = _next(table[row : row + 1], worth[row : row + 1])[0]
    rows: list[int] = []
    others: list[int] = []
    x, y = len(first), len(second)
    while x and y:
        if table[x, y] == table[x - 1, y - 1] + worth[x - 1, y - 1]:
            x, y = x - 1, y - 1
            rows.append(x)
            others.append(y)
        elif table[x, y] == table[x - 1, y]:
            x -= 1
        else:
            y -= 1
    return rows[::-1], others[::-1]


def _next(above: Floats, reward: Floats) -> Floats:
    """The next row of tables of alignment: each place is paired, or one of the two sides is left out."""
    row = np.zeros_like(above)
    np.maximum(above[:, :-1] + reward, above[:, 1:], out=row[:, 1:])
    np.maximum.accumulate(row, axis=1, out=row)
    return row
