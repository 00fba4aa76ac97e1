"""Splits a text by format: prose, formulas and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ocr_verifiers.markup.formulas import locate_formulas
from ocr_verifiers.markup.grid import Grid
from ocr_verifiers.markup.table_parsing import find_tables, is_rule

_TABLE_TAG = re.compile(r"<(/?)table(?=[\s/>])", re.IGNORECASE)


@dataclass(frozen=True)
class Formats:
    """The parts of a text by format."""

    prose: str
    """The rest, without formulas and tables."""
    formulas: tuple[str, ...]
    """In LaTeX, in reading order. Formulas in tables belong to the tables."""
    tables: Sequence[Grid]

    @property
    def characters(self) -> dict[str, int]:
        """The number of characters in each format, without white space and the markup of tables and formulas."""
        return {
            "prose": _length(self.prose),
            "formulas": sum(map(_length, self.formulas)),
            "tables": sum(_length(cell.text) for grid in self.tables for cell in grid.cells),
        }


def take_apart(text: str) -> Formats:
    """Splits a text. Everything between a table's tags, formulas included, belongs to the table."""
    tables = find_tables(text)
    if tables.grids:
        text = "\n".join(_without_markdown_tables("\n".join(_without_html_tables(text))))
    prose, formulas, position = [], [], 0
    for start, end, formula in locate_formulas(text):
        prose.append(text[position:start])
        formulas.append(formula.latex)
        position = end
    return Formats(" ".join([*prose, text[position:]]), tuple(formulas), tables.grids)


def _without_html_tables(text: str) -> Iterator[str]:
    """The text outside tables; an unclosed table extends to the end."""
    depth = position = 0
    for tag in _TABLE_TAG.finditer(text):
        if tag[1]:
            if depth == 1:
                close = text.find(">", tag.end()) + 1
                position = close or len(text)
            depth = max(0, depth - 1)
        else:
            if depth == 0 and tag.start() >= position:
                yield text[position : tag.start()]
            depth += 1
    if depth == 0:
        yield text[position:]


def _without_markdown_tables(text: str) -> Iterator[str]:
    """The lines outside tables. A table extends from the line above a row of dashes to the last line with a pipe."""
    for has_pipe, group in groupby(text.splitlines(), lambda line: "|" in line):
        lines = list(group)
        rule = next((i for i, line in enumerate(lines) if i > 0 and is_rule(line)), None) if has_pipe else None
        yield from lines if rule is None else lines[: rule - 1]


def _length(text: str) -> int:
    return sum(map(len, text.split()))
