"""table, as olmOCR decides it: a cell and its neighbours, each similar enough, in one place of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rapidfuzz import fuzz, process

from ocr_verifiers.markup.grid import Grid
from ocr_verifiers.text.olmocr import query
from ocr_verifiers.unit_tests.checks.table import RELATIONS, judge_cell
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import TableTest
from ocr_verifiers.unit_tests.verdict import Verdict, fail

_MIN_RATIO = 0.5


def table(test: TableTest, page: PreparedPage) -> Verdict:
    """Passes if some table has the cell and, in the same place, every neighbour and heading that the test names.

    A text is similar enough if its rapidfuzz ratio is at least 1 - max_diffs / length, and at least one half. A page on
    which olmOCR's code raises an error fails, as it does in olmOCR's reward.
    """
    html = page.olmocr_html_tables
    found = [html] if test.ignore_markdown_tables else [page.olmocr_markdown_tables, html]
    trouble = next((tables.trouble for tables in found if tables.trouble), "")
    if trouble:
        return fail(trouble)
    cell = query(test.cell)
    expected = {name: _nearness(text, test.max_diffs) for name in RELATIONS if (text := query(getattr(test, name)))}
    grids = [grid for tables in found for grid in tables.grids]
    return judge_cell(test, grids, lambda grid: _anchors(grid, cell, test.max_diffs), expected)


def _anchors(grid: Grid, cell: str, max_diffs: int) -> Iterator[int]:
    """The cells that are similar enough to the test's cell."""
    threshold = _threshold(cell, max_diffs)
    if threshold == 1:
        yield from grid.by_text.get(cell, ())
        return
    # A coarse selection by the batch function, whose cut-off rounds differently; then the ratio that decides.
    cut_off = 100 * threshold - 0.1
    for text, _, _ in process.extract(cell, grid.by_text.keys(), scorer=fuzz.ratio, score_cutoff=cut_off, limit=None):
        if fuzz.ratio(cell, text) / 100 >= threshold:
            yield from grid.by_text[text]


def _nearness(expected: str, max_diffs: int) -> Callable[[str], bool]:
    """A function that says whether a text is similar enough to the expected one."""
    threshold = _threshold(expected, max_diffs)
    if threshold == 1:
        return expected.__eq__
    known: dict[str, bool] = {}

    def is_near(text: str) -> bool:
        near = known.get(text)
        if near is None:
            near = known[text] = fuzz.ratio(expected, text) / 100 >= threshold
        return near

    return is_near


def _threshold(expected: str, max_diffs: int) -> float:
    return max(_MIN_RATIO, 1 - max_diffs / max(1, len(expected)))
