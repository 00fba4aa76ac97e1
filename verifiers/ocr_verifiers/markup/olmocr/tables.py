"""The tables that olmOCR finds on a page: lines with pipes, and HTML tables as read by html_tree.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ocr_verifiers.markup.grid import Budget, Cell, Grid, Tables, TableTooLargeError
from ocr_verifiers.markup.olmocr.html_tree import Markup, RawTable, read_html
from ocr_verifiers.text.olmocr import normalize

_LINE_OF_RULES = frozenset("- :|")


def markdown_tables(text: str) -> Tables:
    """Two or more consecutive lines with pipes are a table, even without a separator line or in code.

    Lines of only dashes, colons and pipes are ignored. Every pipe separates cells; one empty cell is dropped at each
    end of a row. The first row and the first column are headings.
    """
    if "|" not in text:
        return Tables([])
    try:
        return Tables(list(_markdown_grids(text)))
    except TableTooLargeError as error:
        return Tables([], str(error))


def _markdown_grids(text: str) -> Iterator[Grid]:
    budget = Budget(len(text))
    for has_pipe, group in groupby(text.strip().split("\n"), lambda line: "|" in line):
        lines = list(group)
        if has_pipe and len(lines) > 1:
            rows = list(_markdown_rows(lines))
            if rows:
                yield Grid(rows, budget)


def _markdown_rows(lines: list[str]) -> Iterator[list[Cell]]:
    rule = next((number for number, line in enumerate(lines) if _is_rule(line)), None)
    first = True
    for number, line in enumerate(lines):
        if number == rule or _LINE_OF_RULES.issuperset(line):
            continue
        texts = [text.strip() for text in line.split("|")]
        if not texts[0]:
            del texts[0]
        if texts and not texts[-1]:
            del texts[-1]
        if texts:
            yield [Cell(normalize(text), first or column == 0) for column, text in enumerate(texts)]
            first = False


def _is_rule(line: str) -> bool:
    """True for the separator line. The first one may also have other white space at its ends."""
    content = line.replace("|", "").strip()
    return bool(content) and _LINE_OF_RULES.issuperset(content)


def html_tables(text: str) -> Tables:
    """Every `<table>`. Rows of a nested table are also rows of the outer one; only cells directly below a row count.

    If olmOCR's own code raises an error on the page, the result's `trouble` says so.
    """
    markup = read_html(text)
    if markup.rejected:
        return Tables([], f"olmOCR cannot read the page: {markup.rejected}")
    budget = Budget(len(text))
    try:
        grids = [Grid(_html_rows(markup, table, budget), budget) for table in markup.tables]
    except TableTooLargeError as error:
        return Tables([], str(error))
    if any(grid.overrun for grid in grids):
        return Tables([], "olmOCR cannot read the page: a cell spans rows that another cell has ended")
    return Tables(grids)


def _html_rows(markup: Markup, table: RawTable, budget: Budget) -> list[list[Cell]]:
    rows = []
    budget.spend(table.last - table.first)
    for number in range(table.first, table.last):
        cells = []
        for raw in markup.rows[number]:
            budget.spend(1 + (raw.end - raw.start) // 64)
            text = normalize(markup.text[raw.start : raw.end].strip())
            rowspan = table.last - number if raw.rowspan.strip() == "0" else _span(raw.rowspan)
            cells.append(Cell(text, raw.heading, rowspan, _span(raw.colspan)))
        rows.append(cells)
    return rows


def _span(value: str) -> int:
    """An integer of at least 1; anything else is 1."""
    try:
        return max(1, int(value))
    except ValueError:
        return 1
