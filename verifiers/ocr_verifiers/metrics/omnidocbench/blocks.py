"""A page in markdown as OmniDocBench's typed blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from ocr_verifiers.metrics.omnidocbench.delimited import (
    DOLLARS,
    FORMULAS,
    Delimited,
    delimited,
    replaced,
    replaced_on_lines,
    with_delimited,
)

Kind = Literal["text", "formula", "table", "latex_table"]

_FENCE = re.compile(r"^```markdown\n?", re.MULTILINE)
_FENCE_END = re.compile(r"```\n?$", re.MULTILINE)
_REPEATED = re.compile(r"([^a-zA-Z0-9])" + r"\1" * 10 + r"\1*")  # faster than \1{10,}
_ROW = re.compile(r"\|.*?\|\n", re.DOTALL)
_LOST_CELL = re.compile(r":|---")
_TABLE_PART = re.compile(r"</?t(?:able|head|body)>")
_BARE_TABLE = {"<table>": "</table>"}
_COMMENT = {"<!--": "-->"}
_HTML_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_LATEX_TABLE = {r"\begin{table}": r"\end{table}"}
_HEADINGS = (
    (r"\title", re.compile(r"\\title\{([^}]*)\}"), re.compile(r"\\title\s*\{([^}]*)\}")),
    (r"\text", None, re.compile(r"\\text\s*\{([^}]*)\}")),
    (r"\section", re.compile(r"\\section\*?\{([^}]*)\}"), re.compile(r"\\section\*?\{([^}]*)\}")),
)


class Block(NamedTuple):
    """A block of a page."""

    kind: Kind
    position: int
    """Where it begins, roughly: what blocks are ordered by."""
    text: str


def page_blocks(markdown: str) -> list[Block]:
    """The blocks of a page, in its order: LaTeX and HTML tables, formulas, tables in markdown, and paragraphs.

    Inline formulas are blocks of their own too, and stay in their paragraph. A block that is found is blanked.
    """
    text = with_images_as(lambda written: "", markdown)
    if "```" in text:
        text = _FENCE_END.sub("", _FENCE.sub("", text))
    text = with_short_runs(text)
    text = _REPEATED.sub(r"\1\1\1\1", text)
    blocks: list[Block] = []
    for start, end in sorted([*latex_tables(text), *balanced(text, r"\\begin\{tabular\}", r"\end{tabular}", 1)]):
        blocks.append(Block("latex_table", start, text[start:end]))
    text = _blanked(text, blocks)
    tables = [Block("table", start, text[start:end]) for start, end in balanced(text, r"<table[^>]*>", "</table>", 0)]
    text = _blanked(text, tables)
    formulas, displayed = [], []
    for found in delimited(text, FORMULAS):
        one_line = "".join(found.text.split())
        dollars = next(delimited(one_line, DOLLARS), None)
        formulas.append(Block("formula", found.start, with_delimited(one_line, DOLLARS, _bracketed)))
        if dollars is None or (dollars.begin == "$$" and dollars.inner):
            displayed.append(Block("formula", found.start, found.text))
    text = _blanked(text, displayed)
    text, written_tables = markdown_tables(text)
    text = without_headings(text)
    blocks += [*tables, *formulas, *written_tables, *_paragraph_blocks(text)]
    return sorted(blocks, key=lambda block: block.position)


def with_short_runs(text: str) -> str:
    """The text with at most four spaces or underscores in a row."""
    for sign in "_ ":
        if 5 * sign in text:
            text = re.sub(f"{sign}{{4,}}", 4 * sign, text)
    return text


def with_images_as(replacement: Callable[[str], str], text: str) -> str:
    """The text with each image `![...](...)` replaced."""
    pieces, position = [], 0
    for start, _, end in images(text):
        pieces += [text[position:start], replacement(text[start:end])]
        position = end
    return "".join(pieces) + text[position:]


def images(text: str) -> Iterator[tuple[int, int, int]]:
    """Of each image `![...](...)`, which stands on a line, where it, its link and what is after it begin."""
    end = 0
    while (start := text.find("![", end)) >= 0:
        line_end = len(text) if (found := text.find("\n", start)) < 0 else found
        link = text.find("](", start + 2, line_end)
        last = text.find(")", link + 2, line_end) if link >= 0 else -1
        end = last + 1 if last >= 0 else line_end  # without either, no later image on the line has it
        if last >= 0:
            yield start, link, end


def _bracketed(found: Delimited) -> str:
    return f"\\[{found.inner}\\]"


def _blanked(text: str, blocks: list[Block]) -> str:
    return blanked(text, [(block.position, block.position + len(block.text)) for block in blocks])


def blanked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text with spaces for what stands in these spans, which may be within one another."""
    pieces, position = [], 0
    for start, end in sorted(spans):
        pieces += [text[position:start], " " * (end - max(start, position))]
        position = max(position, end)
    return "".join(pieces) + text[position:]


def latex_tables(text: str) -> list[tuple[int, int]]:
    r"""Where each `\begin{table}` begins and ends."""
    return [(found.start, found.stop) for found in delimited(text, _LATEX_TABLE)]


def without_headings(text: str) -> str:
    r"""The text with what is in `\title{...}`, `\section{...}` and `\text{...}` alone; over several lines, stripped."""
    for name, on_a_line, anywhere in _HEADINGS:
        if name in text:
            if on_a_line is not None:
                text = replaced_on_lines(on_a_line, "}", r"\1", text)
            text = replaced(anywhere, "}", lambda found: found[1].strip(), text)
    return text


def balanced(text: str, begin: str, end: str, beyond: int) -> list[tuple[int, int]]:
    """The outermost spans from `begin` to `end`, and some characters beyond; one that does not end is skipped."""
    spans: list[tuple[int, int]] = []
    begins: list[int] = []
    last = text.rfind(end) + len(end) if end in text else 0
    for found in re.compile(f"(?P<begin>{begin})|{re.escape(end)}").finditer(text, 0, last):
        if found["begin"] is not None:
            begins.append(found.start())
        elif begins:
            start = begins.pop()
            while spans and spans[-1][0] > start:
                spans.pop()
            spans.append((start, found.end()))
    return [(start, min(len(text), stop + beyond)) for start, stop in spans]


def markdown_tables(text: str) -> tuple[str, list[Block]]:
    """The text with its tables blanked, and these. Rows are lines with a pipe at the end; there must be two.

    As in the benchmark, a cell with a colon or three dashes is lost, and so is the line above a table. Before all is an
    empty line.
    """
    if len(list(_rows(text + "\n"))) < 2:
        return text, []
    text = "\n".join(_with_joined_tables(_with_html_rows(text.replace("\r", "") + "\n").split("\n")))
    text = text.replace("<table>", '<table border="1" >').replace("<td>", '<td colspan="1" rowspan="1">')
    last = text.rfind("</table>") + len("</table>")
    blocks = [Block("table", found.start(), found[0]) for found in _HTML_TABLE.finditer(text, 0, last)]
    return _blanked(text, blocks), blocks


def _rows(text: str) -> Iterator[re.Match[str]]:
    return _ROW.finditer(text, 0, text.rfind("|\n") + 2)  # no row ends after that


def _with_html_rows(text: str) -> str:
    """The text with each row as a table of several lines, without the second line of a row."""
    pieces: list[str] = []
    position = 0
    for found in _rows(text):
        rows = [row.strip() for row in found[0].strip().split("\n")]
        html = ["<table>", "  <thead>", *_html_row(rows[0], "th"), "  </thead>", "  <tbody>"]
        html += [line for row in rows[2:] for line in _html_row(row, "td")]
        pieces += [text[position : found.start()], "\n".join([*html, "  </tbody>", "</table>\n"])]
        position = found.end()
    return "".join(pieces) + text[position:]


def _html_row(row: str, name: str) -> list[str]:
    return ["    <tr>", *(f"      <{name}>{cell.strip()}</{name}>" for cell in row.split("|")[1:-1]), "    </tr>"]


def _with_joined_tables(lines: Sequence[str]) -> Iterator[str]:
    """The lines, with tables that follow each other as one, without the line above; one that does not end is lost."""
    table, inside, above = "", False, ""
    for line in lines:
        if "<table>" in line:
            table += above
            inside = True
        elif inside:
            if not _LOST_CELL.search(above) and "</thead>" not in above:
                table += "\n" + above
            if "</table>" in above:
                yield _joined(table)
                table, inside = "", False
        else:
            yield above
        above = line


def _joined(tables: str) -> str:
    """The rows of tables as one, without those of an empty row."""
    rows: list[str] = []
    for table in delimited(with_delimited(tables, _COMMENT, lambda _: ""), _BARE_TABLE):
        lines = [line for line in table.text.split("\n") if not _TABLE_PART.search(line)]
        if len(lines) > 2:
            rows += (
                line.replace("<th>", "<td>").replace("</th>", "</td>") if "<th>" in line else line for line in lines
            )
    return "\n\n<table>\n" + "\n".join(rows) + "\n</table>\n\n"


def paragraphs(text: str) -> Iterator[tuple[int, int, str]]:
    """(begin, end, its lines without spaces around them) of each paragraph, or of each line if none is empty.

    Positions do not count what is between paragraphs.
    """
    parts = text.split("\n\n")
    if len(parts) == 1:
        parts = text.split("\n")
    position = 0
    for part in parts:
        lines = (line.strip() for line in part.strip().split("\n"))
        yield position, position + len(part), "\n".join(filter(None, lines))
        position += len(part)


def _paragraph_blocks(text: str) -> Iterator[Block]:
    for position, _, written in paragraphs(text):
        if written.startswith("<table") and written.endswith("</table>"):
            yield Block("table", position, written)
        elif written.startswith("$") and written.endswith("$"):
            if written.replace("$", "").strip():
                yield Block("formula", position, written)
        elif written:
            yield Block("text", position, written)
