"""The output of PaddleOCR-VL and MinerU: text with tables in OTSL, which become HTML.

<fcel>text    a cell                   <lcel>    the cell to the left extends to here
<ecel>        an empty cell            <ucel>    the cell above extends to here
<ched>text    a column heading         <xcel>    inside a cell that extends both ways
<rhed>text    a row heading            <nl>      the end of a row
<srow>text    a section heading
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ocr_verifiers.outputs.result import MalformedError, Markdown, without_end_tokens

CELLS = ("fcel", "ecel", "ched", "rhed", "srow", "lcel", "ucel", "xcel")
_HEADINGS = ("ched", "rhed", "srow")
_SPANNED = ("lcel", "ucel", "xcel")

_TOKEN = re.compile(rf"<({'|'.join(CELLS)}|nl)>|</?otsl>")


class OtslCell(NamedTuple):
    """A token and the text that follows it."""

    token: str
    text: str = ""


def convert(text: str) -> Markdown:
    """The text with its tables in HTML. A table ends before other text, or a blank line, that follows an `<nl>`."""
    if not _TOKEN.search(text):
        return Markdown(text)
    text = without_end_tokens(text)
    blocks: list[str] = []
    rows: list[list[OtslCell]] = []
    row: list[OtslCell] = []
    position = 0
    for token in [*_TOKEN.finditer(text), None]:
        between = text[position : token.start() if token else len(text)]
        name = token[1] if token else None
        if row:
            row[-1] = OtslCell(row[-1].token, between.strip())
        elif between.strip() or between.count("\n") > 1 or name is None:
            _end_table(rows, blocks)
            if between.strip():
                blocks.append(between.strip("\n"))
        if name is None and row:
            raise MalformedError("the last row of a table does not end with <nl>")
        if name == "nl" and not (row or rows):
            raise MalformedError("<nl> stands outside a table")
        if name == "nl" and row:
            rows.append(row)
            row = []
        elif name in CELLS:
            row.append(OtslCell(name))
        position = token.end() if token else len(text)
    return Markdown("\n\n".join(blocks))


def _end_table(rows: list[list[OtslCell]], blocks: list[str]) -> None:
    if rows:
        blocks.append(html_table(rows))
        rows.clear()


def html_table(rows: Sequence[Sequence[OtslCell]]) -> str:
    """An HTML table in one line. Where no cell is marked as a heading, the first of several rows is one of headings.

    A cell spans the tokens that extend it, as far as they make a rectangle; others are empty cells. Texts are copied
    as they are.
    """
    marked = any(cell.token in _HEADINGS for row in rows for cell in row)
    covered = [bytearray(len(row)) for row in rows]  # 1 where a cell extends to
    html = ["<table>"]
    for r, row in enumerate(rows):
        own = {cell.token for cell in row if cell.token not in _SPANNED} - {"ecel"}
        headings = own == {"ched"} if marked else r == 0 and len(rows) > 1
        html.append("<tr>")
        for c, cell in enumerate(row):
            if cell.token in _SPANNED and cell.text:
                raise MalformedError(f"<{cell.token}> has text, and is part of another cell")
            if covered[r][c]:
                continue
            height, width = (1, 1) if cell.token in _SPANNED else _extent(rows, covered, r, c)
            for below in range(r, r + height):
                covered[below][c : c + width] = b"\1" * width
            tag = "th" if headings or cell.token in _HEADINGS else "td"
            spans = f' rowspan="{height}"' * (height > 1) + f' colspan="{width}"' * (width > 1)
            html.append(f"<{tag}{spans}>{cell.text}</{tag}>")
        html.append("</tr>")
    html.append("</table>")
    return "".join(html)


def _extent(rows: Sequence[Sequence[OtslCell]], covered: Sequence[bytearray], row: int, column: int) -> tuple[int, int]:
    """(rows, columns) of the cell that starts here."""

    def free(r: int, c: int, tokens: Sequence[str]) -> bool:
        return c < len(rows[r]) and rows[r][c].token in tokens and not covered[r][c]

    width = 1
    while free(row, column + width, ("lcel", "xcel")):
        width += 1
    height = 1
    while (
        row + height < len(rows)
        and free(row + height, column, ("ucel", "xcel"))
        and all(free(row + height, c, _SPANNED) for c in range(column + 1, column + width))
    ):
        height += 1
    return height, width
