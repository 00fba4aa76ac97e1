"""A page in markdown as OmniDocBench's typed blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

Kind = Literal["text", "formula", "table", "latex_table"]

_FENCE = re.compile(r"^```markdown\n?", re.MULTILINE)
_FENCE_END = re.compile(r"```\n?$", re.MULTILINE)
_REPEATED = re.compile(r"([^a-zA-Z0-9])" + r"\1" * 10 + r"\1*")  # faster than \1{10,}
FORMULA = re.compile(r"\$\$(.*?)\$\$|\\\[(.*?)\\\]|\$(.*?)\$|\\\((.*?)\\\)", re.DOTALL)
DOLLARS = re.compile(r"\$\$(.*?)\$\$|\$(.*?)\$|\\\((.*?)\\\)", re.DOTALL)
_LATEX_TABLE = re.compile(r"\\begin\{table\}(.*?)\\end\{table\}", re.DOTALL)
_ROW = re.compile(r"\|.*?\|\n", re.DOTALL)
_LOST_CELL = re.compile(r":|---")
_HTML_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
HEADINGS = (
    (re.compile(r"\\title\{(.*?)\}"), re.compile(r"\\title\s*\{\s*(.*?)\s*\}", re.DOTALL)),
    (re.compile(r"\\text\s*\{\s*(.*?)\s*\}", re.DOTALL),),
    (re.compile(r"\\section\*?\{(.*?)\}"), re.compile(r"\\section\*?\{\s*(.*?)\s*\}", re.DOTALL)),
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
    text = _FENCE_END.sub("", _FENCE.sub("", with_images_as(lambda written: "", markdown)))
    text = re.sub(r" {4,}", "    ", re.sub(r"_{4,}", "____", text))
    text = _REPEATED.sub(r"\1\1\1\1", text)
    blocks: list[Block] = []
    for start, end in sorted([*_environments(text), *balanced(text, r"\\begin\{tabular\}", r"\end{tabular}", 1)]):
        blocks.append(Block("latex_table", start, text[start:end]))
    text = _blanked(text, blocks)
    tables = [Block("table", start, text[start:end]) for start, end in balanced(text, r"<table[^>]*>", "</table>", 0)]
    text = _blanked(text, tables)
    formulas, displayed = [], []
    for found in FORMULA.finditer(text):
        one_line = "".join(found[0].split())
        dollars = DOLLARS.search(one_line)
        written = DOLLARS.sub(_bracketed, one_line) if dollars else one_line
        formulas.append(Block("formula", found.start(), written))
        if not dollars or dollars[1]:
            displayed.append(Block("formula", found.start(), found[0]))
    text = _blanked(text, displayed)
    text, written_tables = markdown_tables(text)
    for versions in HEADINGS:
        for heading in versions:
            text = heading.sub(r"\1", text)
    blocks += [*tables, *formulas, *written_tables, *_paragraph_blocks(text)]
    return sorted(blocks, key=lambda block: block.position)


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


def _bracketed(found: re.Match[str]) -> str:
    inner = found[1] if found[1] is not None else (found[2] or "") + (found[3] or "")
    return f"\\[{inner}\\]"


def _blanked(text: str, blocks: list[Block]) -> str:
    for block in blocks:
        end = block.position + len(block.text)
        text = text[: block.position] + " " * len(block.text) + text[end:]
    return text


def _environments(text: str) -> Iterator[tuple[int, int]]:
    for found in _LATEX_TABLE.finditer(text):
        yield found.span()


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

    As in the benchmark, a cell with a colon or three dashes is lost, and so is a line right above a table.
    """
    if len(list(_rows(text + "\n"))) < 2:
        return text, []
    text = text.replace("\r", "") + "\n"
    pieces: list[str] = []
    table: list[str] = []
    position = 0
    for found in _rows(text):
        between = text[position : found.start()]
        if table and between:
            pieces += [_written(table), between]
            table = []
        elif between:
            pieces.append(between)
        if not table and pieces and not pieces[-1].startswith("\n\n<table"):
            above = pieces[-1].rstrip("\n")
            if len(pieces[-1]) - len(above) == 1:  # a line of text right above
                pieces[-1] = above[: above.rfind("\n") + 1]
        table += _row_lines(found[0])
        position = found.end()
    pieces += [_written(table), text[position:]]
    text = "".join(pieces)
    blocks = [Block("table", found.start(), found[0]) for found in _HTML_TABLE.finditer(text)]
    return _blanked(text, blocks), blocks


def _rows(text: str) -> Iterator[re.Match[str]]:
    return _ROW.finditer(text, 0, text.rfind("|\n") + 2)  # no row ends after that


def _row_lines(written: str) -> list[str]:
    """The lines of HTML of a row; if it extends over several lines, of the first one and those from the third."""
    lines: list[str] = []
    rows = [row.strip() for row in written.strip().split("\n")]
    for row in (rows[0], *rows[2:]):
        cells = [f"      <td>{cell.strip()}</td>" for cell in row.split("|")[1:-1]]
        kept = [cell for cell in cells if not _LOST_CELL.search(cell)]
        lines += ["    <tr>", *kept, "    </tr>"] if kept else []
    return lines


def _written(lines: list[str]) -> str:
    html = "\n".join(["<table>", *lines, "</table>"])
    html = html.replace("<table>", '<table border="1" >').replace("<td>", '<td colspan="1" rowspan="1">')
    return f"\n\n{html}\n\n"


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
