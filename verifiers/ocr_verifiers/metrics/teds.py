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

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup.grid import Cell, Grid
from ocr_verifiers.markup.table_parsing import find_tables
from ocr_verifiers.metrics.table_matching import matched_tables
from ocr_verifiers.metrics.tree_distance import Costs, RowCosts, Rows, tree_distance

MAX_PAIRS = 5_000**2
"""Pairs of cells that are compared, which takes about two seconds. Larger tables are compared in bands of rows.

An empty row counts as a cell.
"""
MAX_BANDS = 1_000


def teds(reference: Grid | str, completion: Grid | str, structure_only: bool = False) -> float:
    """The similarity of two tables, in [0, 1]. Of a text, the first table is used.

    It is 1 if neither side has a table and 0 if only one does. Two tables of more than MAX_PAIRS pairs of cells (5,000
    each) are cut into bands of rows with as many cells each, whose distances are added. This is the distance of
    one way to match them, and so a bound: TEDS is at least as large.
    """
    a, b = _rows(reference), _rows(completion)
    if not a or not b:
        return float(not a and not b)
    if a == b:
        return 1.0
    nodes = max(len(a) + _cells(a), len(b) + _cells(b))
    return max(0.0, 1 - _distance(a, b, structure_only) / nodes)


def tables_similarity(
    reference: Sequence[Grid] | str, completion: Sequence[Grid] | str, structure_only: bool = False
) -> float:
    """The similarity of the tables of two pages, in [0, 1]: TEDS of matching tables, see `matched_tables`."""
    return matched_tables(reference, completion, lambda a, b: teds(a, b, structure_only))


def _rows(table: Grid | str) -> Rows:
    if isinstance(table, str):
        grids = find_tables(table).grids
        return grids[0].rows if grids else []
    return table.rows


def _cells(rows: Rows) -> int:
    return sum(map(len, rows))


def _distance(a: Rows, b: Rows, structure_only: bool) -> float:
    """The tree edit distance; above MAX_PAIRS pairs of cells, the sum of those of bands of rows, from above."""
    costs = structure_costs if structure_only else text_costs
    pairs = _size(a) * _size(b)
    if pairs <= MAX_PAIRS:
        return tree_distance(a, b, costs)
    bands = min(max(2, -(-pairs // MAX_PAIRS)), MAX_BANDS)
    return sum(
        tree_distance(left, right, costs)
        if _size(left) * _size(right) <= MAX_PAIRS
        else float(max(len(left) + _cells(left), len(right) + _cells(right)))  # one row of very many cells
        for left, right in zip(_bands(a, bands), _bands(b, bands), strict=True)
    )


def _size(rows: Rows) -> int:
    """The number of cells, with one for an empty row."""
    return sum(max(1, len(row)) for row in rows)


def _bands(rows: Rows, number: int) -> list[Rows]:
    """The rows in so many parts of about as many cells each."""
    ends = np.cumsum([max(1, len(row)) for row in rows])
    at = np.searchsorted(ends, ends[-1] * np.arange(1, number) / number).tolist()
    return [rows[start:end] for start, end in pairwise([0, *at, len(rows)])]


def structure_costs(columns: Sequence[Cell]) -> RowCosts:
    """1 for cells with different spans, else 0."""
    codes: dict[tuple[int, int], int] = {}

    def spans(cells: Sequence[Cell]) -> npt.NDArray[np.intp]:
        return np.array([codes.setdefault((c.rowspan, c.colspan), len(codes)) for c in cells], dtype=np.intp)

    known = spans(columns)
    return lambda row: (spans(row)[:, None] != known[None]).astype(np.float32)


def text_costs(columns: Sequence[Cell]) -> RowCosts:
    """1 for cells with different spans, else the share of their texts that differs."""
    places: dict[str, int] = {}  # tables repeat their texts
    which = np.array([places.setdefault(cell.text, len(places)) for cell in columns], dtype=np.intp)
    texts = list(places)
    structure = structure_costs(columns)

    def costs(row: Sequence[Cell]) -> Costs:
        if not row or not texts:
            return np.ones((len(row), len(columns)), dtype=np.float32)
        scorer = Levenshtein.normalized_distance
        different: Costs = process.cdist([cell.text for cell in row], texts, scorer=scorer, dtype=np.float32)
        worse: Costs = np.maximum(structure(row), different[:, which])
        return worse

    return costs
