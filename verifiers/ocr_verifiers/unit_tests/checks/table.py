"""table: does a table of the page have a cell with the expected neighbours and headings?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup.grid import Direction, Grid, TableTooLargeError
from ocr_verifiers.text.fuzzy_search import allowed_edits
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import TableTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

_NEIGHBOURS: tuple[Direction, ...] = ("up", "down", "left", "right")
_HEADINGS: Mapping[str, Direction] = {"top_heading": "up", "left_heading": "left"}
RELATIONS = (*_NEIGHBOURS, *_HEADINGS)
"""The fields of a test that describe what is around its cell."""


def table(test: TableTest, page: PreparedPage) -> Verdict:
    """Passes if some table has the cell and, in the same place, every neighbour and heading that the test names.

    Whole cells are compared, within `max_diffs` Levenshtein edits, and never more than half the length of the text.
    """
    tables = page.html_tables if test.ignore_markdown_tables else page.tables
    if tables.trouble:
        return fail(tables.trouble)
    queries = test.queries
    cell = queries["cell"]
    expected = {name: _nearness(queries[name], test.max_diffs) for name in RELATIONS if queries[name]}
    return judge_cell(test, tables.grids, lambda grid: _anchors(grid, cell, test.max_diffs), expected)


def judge_cell(
    test: TableTest,
    grids: Sequence[Grid],
    anchors: Callable[[Grid], Iterable[int]],
    expected: Mapping[str, Callable[[str], bool]],
) -> Verdict:
    """Passes if one of the anchors, cells with the test's text, has everything expected around it.

    A cell that spans rows or columns has several neighbours in a direction; one of them must match.
    """
    if not grids:
        return fail("no table on the page")
    neighbours = [(direction, expected[direction]) for direction in _NEIGHBOURS if direction in expected]
    anchor_found = False
    missing: set[str] = set()
    try:
        for grid in grids:
            headings = [
                (name, grid.heading_search(direction, expected[name]))
                for name, direction in _HEADINGS.items()
                if name in expected
            ]
            for anchor in anchors(grid):
                anchor_found = True
                failed: str | None = next(
                    (
                        direction
                        for direction, matches in neighbours
                        if not any(matches(grid.cells[near].text) for near in grid.neighbours(anchor, direction))
                    ),
                    None,
                ) or next((name for name, search in headings if not search(anchor)), None)
                if failed is None:
                    return PASS
                missing.add(failed)
    except TableTooLargeError as error:
        return fail(str(error))
    if not anchor_found:
        return fail(f"no cell reads {quoted(test.cell)}")
    wanted = ", ".join(f"{name} {quoted(getattr(test, name), 30)}" for name in RELATIONS if name in missing)
    return fail(f"{quoted(test.cell, 30)} is a cell, but nowhere with {wanted}")


def _anchors(grid: Grid, cell: str, max_diffs: int) -> Iterator[int]:
    """The cells with the text of the test's cell."""
    edits = allowed_edits(cell, max_diffs)
    if edits == 0:
        yield from grid.by_text.get(cell, ())
        return
    for text, _, _ in process.extract(
        cell, grid.by_text.keys(), scorer=Levenshtein.distance, score_cutoff=edits, limit=None
    ):
        yield from grid.by_text[text]


def _nearness(expected: str, max_diffs: int) -> Callable[[str], bool]:
    """A function that says whether a text is close enough to the expected one."""
    edits = allowed_edits(expected, max_diffs)
    if edits == 0:
        return expected.__eq__
    return lambda text: Levenshtein.distance(expected, text, score_cutoff=edits) <= edits
