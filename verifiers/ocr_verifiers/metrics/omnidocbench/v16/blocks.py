"""A page in markdown as the typed blocks of OmniDocBench v1.6."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Literal, NamedTuple

from ocr_verifiers.metrics.omnidocbench.blocks import (
    balanced,
    blanked,
    images,
    latex_tables,
    markdown_tables,
    paragraphs,
    with_images_as,
    with_short_runs,
    without_headings,
)
from ocr_verifiers.metrics.omnidocbench.delimited import DOLLARS, FORMULAS, delimited, with_delimited
from ocr_verifiers.metrics.omnidocbench.v16 import formula_like as like

Kind = Literal["text", "formula", "rescue", "table", "latex_table"]
_CODE = re.compile(r"```\w+\n(.*?)```", re.DOTALL)
_PAGE_TAGS = re.compile(r"</?(?:html|body)>")
_EMPTY_LINES = re.compile(r"(\n\s*\n)")
_USUAL_TAG = re.compile(r'<(/?)(table|thead|tbody|tr|td|th|div|b|i|br)(?:\s+[a-z]+="[^"<>]*")*>')
_CAPTIONS = (
    "the image ",
    "the image displays",
    "the figure ",
    "the figure shows",
    "the diagram ",
    "diagram:",
    "[diagram:",
    "[image:",
    "qr code ",
)


class Block(NamedTuple):
    """A block of a page."""

    kind: Kind
    category: str
    """What the benchmark calls it."""
    start: int
    """Where it begins, roughly: what blocks are ordered by."""
    end: int
    text: str
    source: object = None
    """What a line of a formula was cut from."""

    @property
    def inline(self) -> bool:
        return self.category == "equation_inline"


def page_blocks(markdown: str) -> list[Block]:
    """The blocks of a page, in its order: tables, formulas, code and paragraphs, and what may be formulas among these.

    Inline formulas are blocks of their own too, and stay in their paragraph. A block that is found is blanked.
    """
    blocks: list[Block] = []
    for start, link, end in images(markdown):
        blocks += _rescued(markdown[start + 2 : link].strip(), start, end, "image_formula")
    text = with_images_as(lambda written: " " * len(written), markdown)
    if "```" in text:  # one after the other, as the end of a page's fence may stand right after its beginning
        for fence in ("markdown", "html", "latex"):
            text = re.sub(rf"^```{fence}\n?", "", text, flags=re.MULTILINE)
        text = re.sub(r"```\n?$", "", text, flags=re.MULTILINE)
    text = with_short_runs(text)
    text = _with_plain_captions(_PAGE_TAGS.sub("", text))
    latex = [Block("latex_table", "latex_table", start, end, text[start:end]) for start, end in latex_tables(text)]
    text = _blanked(text, latex)
    for start, end in balanced(text, r"\\begin\{tabular\}", r"\end{tabular}", 1):
        latex.append(Block("latex_table", "latex_table", start, end, text[start:end]))
    text = _blanked(text, latex)
    blocks += sorted(latex, key=lambda block: block.start)
    tables = [
        Block("table", "html_table", start, end, text[start:end])
        for start, end in balanced(text, r"<table[^>]*>", "</table>", 0)
    ]
    blocks += _with_cells(tables)
    text = _blanked(text, tables)
    formulas, displayed = _formulas(text)
    blocks += formulas
    text, written = markdown_tables(_blanked(text, displayed))
    blocks += _with_cells(
        [
            Block("table", "md2html_table", table.position, table.position + len(table.text), table.text)
            for table in written
        ]
    )
    code = [Block("text", "code", *found.span(), found[1].strip()) for found in _CODE.finditer(text)]
    blocks += code
    text = _blanked(text, code)
    text = without_headings(text)
    blocks += _paragraph_blocks(text)
    return [block for block in sorted(blocks, key=lambda block: block.start) if not _is_label(block)]


def _blanked(text: str, blocks: list[Block]) -> str:
    return blanked(text, [(block.start, block.end) for block in blocks])


def _with_plain_captions(text: str) -> str:
    """The page with the formulas of descriptions of images as text."""
    parts = _EMPTY_LINES.split(text)
    for at in range(0, len(parts), 2):
        compact = " ".join(parts[at].split()).lower()
        if len(compact) >= 24 and compact.startswith(_CAPTIONS):
            for pair in ({r"\(": r"\)"}, {"$": "$"}):
                parts[at] = with_delimited(parts[at], pair, lambda found: found.inner)
    return "".join(parts)


def _formulas(text: str) -> tuple[list[Block], list[Block]]:
    """All formulas, and where the displayed ones stand."""
    blocks: list[Block] = []
    displayed = []
    for found in delimited(text, FORMULAS):
        line = " ".join(found.text.strip().split("\n"))
        dollars = next(delimited(line, DOLLARS), None)
        if dollars is None or (dollars.begin == "$$" and dollars.inner):
            displayed.append(Block("formula", "", found.start, found.stop, found.text))
            category = "equation_isolated"
        else:
            category = "equation_inline"
        line = _bracketed(line, category == "equation_inline")
        blocks += _with_margins(line, found.start, found.stop, category)
    return blocks, displayed


def _bracketed(line: str, inline: bool) -> str:
    """A formula in brackets; as in the benchmark, without what is in delimiters of the other kind."""
    return with_delimited(line, DOLLARS, lambda found: rf"\[{found.inner if (found.begin != '$$') == inline else ''}\]")


def _with_margins(line: str, start: int, end: int, category: str) -> Iterator[Block]:
    """A formula, without the number before it and the words after it, which are text; or the several on its line."""
    formula, before, after = like.without_margins(line)
    parts = like.side_by_side(formula)
    if parts:
        share = max(max(end - start, len(parts)) // len(parts), 1)
        for number, part in enumerate(parts):
            first = start + number * share
            last = end if number == len(parts) - 1 else min(end, first + share)
            yield Block("formula", category, first, last, part)
    else:
        yield Block("formula", category, start, end, formula)
    for text in before:
        yield Block("text", "equation_caption", start, min(end, start + max(len(text), 1)), text)
    for text in after:
        yield Block("text", "equation_caption", max(start, end - max(len(text), 1)), end, text)


def _with_cells(tables: list[Block]) -> Iterator[Block]:
    """Tables, each with the cells that look like formulas."""
    for table in tables:
        yield table
        start = table.start
        for cell in cell_texts(table.text):
            if like.is_formula_cell(cell):
                end = start + max(len(cell), 1)
                yield Block("formula", "table_formula_rescue", start, end, like.as_formula(cell))
                start = end + 1


def _rescued(text: str, start: int, end: int, category: str) -> Iterator[Block]:
    """A text that looks like a formula, as one; those with a long arrow are paired with all others."""
    if like.is_formula(text) and (latex := like.as_formula(text)):
        arrow = r"\xrightarrow" in latex or r"\longrightarrow" in latex
        yield Block("formula" if arrow else "rescue", category, start, end, latex)


def _paragraph_blocks(text: str) -> Iterator[Block]:
    for begin, end, lines in paragraphs(text):
        written = _plain_html(lines) if re.match(r"<di[vr]\b", lines, re.IGNORECASE) else lines
        if written.strip():
            yield Block("text", "text_block", begin, end, written.strip())
            yield from _rescued(written.strip(), begin, end, "text_formula")


def _is_label(block: Block) -> bool:
    """Whether it is an inline formula that may be a word: a name, a number or an arrow."""
    return block.kind == "formula" and block.inline and like.is_label(block.text)


class Texts(HTMLParser):
    """The texts of cells, or of everything but styles and scripts with a line for each block."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[list[str]] = []
        self.text: list[str] = []
        self._open: list[tuple[str, list[str] | None]] = []
        self._names: Counter[str] = Counter()
        """Of the open tags."""
        self._filling: deque[tuple[list[str], int]] = deque()
        """The open cells that are not too long for a formula yet, and the letters before each."""
        self._letters = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.text.append("\n")
        if tag in ("br", "img", "hr", "input", "meta", "link", "col", "wbr"):
            return
        cell: list[str] | None = [] if tag in ("td", "th") else None
        if cell is not None:
            self.cells.append(cell)
            self._filling.append((cell, self._letters))
        self._open.append((tag, cell))
        self._names[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in ("div", "dir", "p", "li"):
            self.text.append("\n")
        closed = None
        while self._names[tag] and closed != tag:
            closed, cell = self._open.pop()
            self._names[closed] -= 1
            if self._filling and self._filling[-1][0] is cell:
                self._filling.pop()

    def handle_data(self, data: str) -> None:
        if not self._names["style"] and not self._names["script"]:
            self.text.append(data)
        if written := " ".join(data.split())[: like.LONGEST_CELL + 1]:
            self._letters += len(written)
            for cell, _ in self._filling:
                cell.append(written)
            while self._filling and self._letters - self._filling[0][1] > like.LONGEST_CELL:
                self._filling.popleft()


def parsed(html: str) -> Texts | None:
    parser = Texts()
    before, *pieces = _USUAL_TAG.split(html)
    if not any("<" in text for text in (before, *pieces[2::3])):  # what the parser would read, but faster
        parser.handle_data(unescape(before))
        for closing, name, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            if closing:
                parser.handle_endtag(name)
            else:
                parser.handle_starttag(name, [])
            parser.handle_data(unescape(text))
        return parser
    try:
        parser.feed(html)
        parser.close()
    except AssertionError:  # HTMLParser's own error, for a marked section that it does not know: <![foo[x]]>
        return None
    return parser


def cell_texts(html: str) -> list[str]:
    """The texts of the cells of a table, long ones not to their end; none if it cannot be parsed."""
    parser = parsed(html)
    return [" ".join(cell) for cell in parser.cells] if parser else []


def _plain_html(html: str) -> str:
    if "<table" in html.lower():
        return html
    parser = parsed(html)
    if parser is None:
        return html
    lines = "".join(parser.text).replace("\xa0", " ").split("\n")
    return "\n".join(line.strip() for line in lines if line.strip()) or html
