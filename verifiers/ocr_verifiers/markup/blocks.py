"""A page as its tables and the text around them, in reading order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from ocr_verifiers.markup.grid import Budget, Grid, TableTooLargeError
from ocr_verifiers.markup.table_parsing import html_grids, markdown_grid, rule_line

_TABLE_TAG = re.compile(r"<(/?)table(?=[\s/>])", re.IGNORECASE)


class TableBlock(NamedTuple):
    """A table in the text."""

    source: str
    grids: list[Grid]
    """More than one if an HTML table has others inside."""


def blocks(text: str) -> Iterator[str | TableBlock]:
    """Text and tables in turn. Everything between a table's tags belongs to it; an unclosed one extends to the end.

    A markdown table extends from the line above a row of dashes to the last line with a pipe. A table that is too large
    for the page (see `grid.Budget`) is text.
    """
    budget = Budget(len(text))
    for is_table, piece in _html_tables(text):
        if is_table:
            yield _table(piece, lambda: list(html_grids(piece, budget)))  # noqa: B023  # called at once
        elif "|" in piece and "-" in piece:
            yield from _markdown_blocks(piece, budget)
        else:
            yield piece


def _markdown_blocks(text: str, budget: Budget) -> Iterator[str | TableBlock]:
    prose: list[str] = []
    for has_pipe, group in groupby(text.splitlines(), lambda line: "|" in line):
        lines = list(group)
        rule = rule_line(lines) if has_pipe else None
        if rule is None:
            prose += lines
            continue
        yield "\n".join([*prose, *lines[: rule - 1]])
        prose = []
        rows = lines[rule - 1 :]
        yield _table("\n".join(rows), lambda: [markdown_grid(rows, budget)])  # noqa: B023
    yield "\n".join(prose)


def _table(source: str, parse: Callable[[], list[Grid]]) -> str | TableBlock:
    try:
        return TableBlock(source, parse())
    except TableTooLargeError:
        return source


def _html_tables(text: str) -> Iterator[tuple[bool, str]]:
    """The text in pieces; True for those that are a table with its tags."""
    depth = position = 0
    for tag in _TABLE_TAG.finditer(text):
        if tag.start() < position:
            continue
        if tag[1]:
            if depth == 1:
                end = text.find(">", tag.end()) + 1 or len(text)
                yield True, text[position:end]
                position = end
            depth = max(0, depth - 1)
        else:
            if depth == 0:
                yield False, text[position : tag.start()]
                position = tag.start()
            depth += 1
    yield depth > 0, text[position:]
