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
_TABLE_PART = re.compile(r"</?t(?:able|head|body)>")
_BARE_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_TABLE_LINES = re.compile(r"^(?:.*\n)?(?:^.*<table>(?s:.*?)(?:</table>.*\n|(?P<open>\Z)))+", re.MULTILINE)
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

    As in the benchmark, a cell with a colon or three dashes is lost, and so is the line above a table. Before all is an
    empty line.
    """
    if len(list(_rows(text + "\n"))) < 2:
        return text, []
    lines = "\n" + _with_html_rows(text.replace("\r", "") + "\n")
    text = _TABLE_LINES.sub(_written, lines)[:-1].replace("<td>", '<td colspan="1" rowspan="1">')
    blocks = [Block("table", found.start(), found[0]) for found in _HTML_TABLE.finditer(text)]
    return _blanked(text, blocks), blocks


def _rows(text: str) -> Iterator[re.Match[str]]:
    return _ROW.finditer(text, 0, text.rfind("|\n") + 2)  # no row ends after that


def _with_html_rows(text: str) -> str:
    """The text with each row as a table of several lines, without the second line of a row."""
    pieces: list[str] = []
    position = 0
    for found in _rows(text):
        written = [row.strip() for row in found[0].strip().split("\n")]
        lines = [
            line
            for row in (written[0], *written[2:])
            for line in ("    <tr>", *(f"      <td>{cell.strip()}</td>" for cell in row.split("|")[1:-1]), "    </tr>")
        ]
        pieces += [text[position : found.start()], "\n".join(["<table>", *lines, "</table>\n"])]
        position = found.end()
    return "".join(pieces) + text[position:]


def _written(found: re.Match[str]) -> str:
    """Tables that follow each other, as one; those of an empty row are left out, and all if the last does not end."""
    if found["open"] is not None:
        return ""
    kept = "\n".join(line for line in found[0].split("\n") if not _LOST_CELL.search(line))
    tables = [
        [line for line in table[0].split("\n") if not _TABLE_PART.search(line)] for table in _BARE_TABLE.finditer(kept)
    ]
    html = "\n".join(line for table in tables if len(table) > 2 for line in table)
    return f'\n\n<table border="1" >\n{html}\n</table>\n\n\n'


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
