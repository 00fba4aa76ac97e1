"""The tables of a page as a reader would see them: GitHub's markdown tables, and HTML tables by HTML's rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from ocr_verifiers.markup.cells import cell_key, cell_text
from ocr_verifiers.markup.grid import Budget, Cell, Grid, Tables, TableTooLargeError
from ocr_verifiers.text.normalize import references

MAX_COLSPAN = 1000
"""HTML's own limit."""

_QUOTE = re.compile(r"^ {0,3}(?:> {0,3})+")
_PIPE = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\s*+\|?\s*+:?-++:?\s*+(?:\|\s*+:?-++:?\s*+)*+\|?\s*+")
_TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9]*)((?:[\s/](?:[^<>"']|"[^"]{0,400}"|'[^']{0,400}')*+)?)>""")
_CUT_TAG = re.compile(r"</?(?:[A-Za-z][^<>]{0,400})?$")
_SPAN = re.compile(
    r"""(?:^|[\s"'/])(rowspan|colspan)\s*+=\s*+["']?\s*+([0-9]{1,9})(?![0-9])""", re.ASCII | re.IGNORECASE
)


def find_tables(text: str) -> Tables:
    """The markdown and HTML tables of a text, including those in code fences: many models fence everything."""
    budget = Budget(len(text))
    try:
        return Tables([*_markdown_grids(text, budget), *html_grids(text, budget)])
    except TableTooLargeError as error:
        return Tables([], str(error))


def find_html_tables(text: str) -> Tables:
    """Only the HTML tables."""
    try:
        return Tables(list(html_grids(text, Budget(len(text)))))
    except TableTooLargeError as error:
        return Tables([], str(error))


def make_cell(text: str, heading: bool = False, rowspan: int = 1, colspan: int = 1) -> Cell:
    """A cell from its text in markdown or HTML."""
    written = cell_text(text)
    return Cell(cell_key(written), heading, rowspan, colspan, written)


def _markdown_grids(text: str, budget: Budget) -> Iterator[Grid]:
    """Lines with pipes that include a rule of dashes: a heading row, the rule, and rows of any length.

    Lines above the heading row do not belong to the table; another line of dashes is a row of dashes.
    """
    if "|" not in text or "-" not in text:
        return
    for has_pipe, group in groupby(text.splitlines(), lambda line: "|" in line):
        lines = list(group) if has_pipe else []
        rule = rule_line(lines)
        if rule is not None:
            yield markdown_grid(lines[rule - 1 :], budget)


def rule_line(lines: Sequence[str]) -> int | None:
    """The first line of dashes that has a line above it, which is the heading row of a table."""
    return next((i for i, line in enumerate(lines) if i > 0 and _RULE.fullmatch(_unquoted(line))), None)


def markdown_grid(lines: Sequence[str], budget: Budget) -> Grid:
    """The table of a heading row, a rule, and rows."""
    rows = [_markdown_cells(line) for line in (lines[0], *lines[2:])]
    return Grid(
        [[make_cell(text, r == 0 or c == 0) for c, text in enumerate(row)] for r, row in enumerate(rows)], budget
    )


def _unquoted(line: str) -> str:
    """A line of a block quote without its marks."""
    return _QUOTE.sub("", line) if ">" in line else line


def _markdown_cells(line: str) -> list[str]:
    """The cells of a line, separated by pipes but not by `\\|`. As on GitHub, a pipe in `code` separates cells too."""
    texts = _PIPE.split(_unquoted(line).strip())
    if len(texts) > 1 and not texts[0].strip():
        del texts[0]
    if len(texts) > 1 and not texts[-1].strip():
        del texts[-1]
    return [text.strip().replace("\\|", "|") for text in texts]


@dataclass
class _OpenCell:
    heading: bool
    rowspan: int | None
    colspan: int
    parts: list[str] = field(default_factory=list)


@dataclass
class _OpenTable:
    rows: list[list[_OpenCell]] = field(default_factory=list)
    row: list[_OpenCell] | None = None
    cell: _OpenCell | None = None
    in_head: bool = False

    def read_tag(self, name: str, closing: bool, attributes: str) -> None:
        """Any tag but `<table>`."""
        if name in ("td", "th"):
            self.cell = None
            if not closing:
                self._start_cell(name == "th" or self.in_head, attributes)
        elif name == "tr":
            self.cell = self.row = None
            if not closing:
                self._start_row()
        elif name in ("thead", "tbody", "tfoot"):
            self.cell = self.row = None
            self.in_head = name == "thead" and not closing
        elif name == "caption":
            self.cell = None
        elif self.cell and name in ("br", "p", "div", "li"):
            self.cell.parts.append(" ")
        elif self.cell and name in ("sub", "sup"):
            self.cell.parts.append(f"</{name}>" if closing else f"<{name}>")

    def _start_row(self) -> list[_OpenCell]:
        self.row = []
        self.rows.append(self.row)
        return self.row

    def _start_cell(self, heading: bool, attributes: str) -> None:
        row = self._start_row() if self.row is None else self.row
        spans = {key.lower(): int(value) for key, value in _SPAN.findall(attributes)} if attributes else {}
        self.cell = _OpenCell(heading, spans.get("rowspan"), min(MAX_COLSPAN, max(1, spans.get("colspan", 1))))
        row.append(self.cell)


def html_grids(text: str, budget: Budget) -> Iterator[Grid]:
    """The HTML tables of a text; a nested one comes after the one around it."""
    for table in _html_tables(text):
        rows = []
        for number, row in enumerate(table.rows):
            below = len(table.rows) - number
            rows.append(
                [
                    make_cell(
                        "".join(cell.parts),
                        cell.heading,
                        below if cell.rowspan == 0 else min(cell.rowspan or 1, below),
                        cell.colspan,
                    )
                    for cell in row
                ]
            )
        yield Grid(rows, budget)


def _html_tables(text: str) -> list[_OpenTable]:
    """The tables in the order of their tags. The text of a nested table belongs to that table, not to the outer cell.

    As in HTML, the next cell, row or table end closes a cell, and the same holds for rows; cells without a row form a
    row. Comments and scripts are ignored; an unclosed one hides the rest. A tag that the page's end cuts is dropped.
    """
    found: list[_OpenTable] = []
    if "<table" not in text.lower():
        return found
    text = without_hidden(text)
    stack: list[_OpenTable] = []
    position = 0
    for match in _TAG.finditer(text):
        cell = stack[-1].cell if stack else None
        if cell and match.start() > position:
            cell.parts.append(references(text[position : match.start()]))
        position = match.end()
        closing, name, attributes = match.groups()
        name = name.lower()
        if name != "table":
            if stack:
                stack[-1].read_tag(name, bool(closing), attributes)
        elif not closing:
            stack.append(_OpenTable())
            found.append(stack[-1])
        elif stack:
            stack.pop()
    if stack and stack[-1].cell:
        stack[-1].cell.parts.append(references(_CUT_TAG.sub("", text[position:])))
    return found


_HIDDEN = re.compile(r"<!--|<(script|style|template)(?=[\s/>])", re.ASCII | re.IGNORECASE)


def without_hidden(text: str) -> str:
    """The text without comments, scripts, styles and templates; an unclosed one hides everything after it."""
    kept = []
    position = 0
    lower = ""
    while match := _HIDDEN.search(text, position):
        kept.append(text[position : match.start()])
        if match[1]:
            lower = lower or text.translate(_LOWER)
            end = lower.find(f"</{match[1].lower()}", match.end())
            close = text.find(">", end) + 1 if end >= 0 else 0
        else:
            close = text.find("-->", match.start() + 2)
            close = close + 3 if close >= 0 else 0
        if not close:
            return "".join(kept)
        position = close
    kept.append(text[position:])
    return "".join(kept)


_LOWER = str.maketrans({letter: letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})
