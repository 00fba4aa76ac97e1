"""The output of SmolDocling and granite-docling: DocTags, elements with their places on the page.

    <doctag><section_header_level_1><loc_50><loc_40><loc_250><loc_60>Annual Report</section_header_level_1>
    <otsl><ched>Region<ched>Sales<nl><fcel>North<fcel>120<nl><caption>Table 1</caption></otsl></doctag>

Elements stay in their order. A title has one #; a section header of level n has n of them, and one more on a page with
a title. List items get markers unless they have their own; formulas get $$, or $ within a line; code gets backticks;
tables are HTML, each after its caption. Dropped are places, attributes, page headers and footers, and pictures and
charts except for their captions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby

from ocr_verifiers.outputs.formulas import display_formula, inline_formula
from ocr_verifiers.outputs.otsl import CELLS, OtslCell, html_table
from ocr_verifiers.outputs.result import Dropped, MalformedError, Markdown, without_end_tokens
from ocr_verifiers.text.quoting import quoted

MAX_DEPTH = 20
"""Elements within elements."""
MAX_PLACES = 8
"""Location and link tokens per element or cell: four of its place, and links of a key to its values."""

_ELEMENTS = (
    r"doctag|title|section_header_level_\d|text|paragraph|reference|handwritten_text|caption|footnote|formula|code|"
    r"inline|ordered_list|unordered_list|list_item|otsl|document_index|picture|chart|smiles|page_header|page_footer|"
    r"checkbox_selected|checkbox_unselected|form|key_value_region|key_\d{1,4}|value_\d{1,4}"
)
_TOKEN = re.compile(
    rf"<(/?)({_ELEMENTS})((?:\s[^<>]*)?)>|<({'|'.join(CELLS)}|nl|page_break|loc_\d{{1,4}}|link_\d{{1,4}})/?>", re.ASCII
)
_TITLE = re.compile(r"<title[\s>]")
_LANGUAGE = re.compile(r"\s*<_[A-Za-z0-9+#]{1,20}_>", re.ASCII)
_NUMBER = re.compile(r"\(?(?:\d{1,4}|[A-Za-z])(?:\.\d{1,3}){0,4}[.)]\s", re.ASCII)
_BULLET = re.compile(r"[-*+•·▪◦‣●○■□–]\s+")


def convert(text: str) -> Markdown:
    """The elements as markdown. Text outside an element, and an element that is not closed, are malformed."""
    text = without_end_tokens(text)
    if not _TOKEN.search(text):
        raise MalformedError("it has no DocTags; keep special tokens when decoding")
    page = _Page(has_title=_TITLE.search(text) is not None)
    position = 0
    for token in _TOKEN.finditer(text):
        page.read_text(text[position : token.start()])
        closing, name, attributes, void = token.groups()
        if void:
            page.read_void(void)
        elif closing:
            page.close(name)
        else:
            page.open(name, attributes)
        position = token.end()
    page.read_text(text[position:])
    return Markdown(page.markdown())


class _Element:
    """An open element and what it holds so far: text and other elements, lists and tables on lines of their own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pieces: list[tuple[str, bool]] = []
        """Markdown, and whether it has lines of its own."""

    def add_text(self, text: str) -> None:
        self.pieces.append((text, False))

    def add(self, child: _Element, markdown: str) -> None:
        self.pieces.append((markdown, isinstance(child, _List | _Table | _Picture)))

    def add_cell(self, token: str) -> None:
        raise MalformedError(f"<{token}> stands outside a table")

    def markdown(self) -> str:
        lines = []
        for own, pieces in groupby(self.pieces, key=lambda piece: piece[1]):
            texts = [text for text, _ in pieces]
            lines += texts if own else ["".join(texts).strip("\n" if self.name == "code" else None)]
        return "\n\n".join(filter(None, lines))


class _Container(_Element):
    """Holds elements and no text."""

    def add_text(self, text: str) -> None:
        if text.strip():
            raise MalformedError(f"{quoted(text.strip())} stands outside an element")

    def add(self, child: _Element, markdown: str) -> None:
        self.pieces.append((markdown, True))


class _Inline(_Element):
    """The parts of a line, with spaces between them, but not before punctuation."""

    def add_text(self, text: str) -> None:
        self.add(self, text.strip())

    def add(self, child: _Element, markdown: str) -> None:
        if self.pieces and markdown and markdown[0] not in ",.;:!?)]" and self.pieces[-1][0][-1] not in "([":
            self.pieces.append((" ", False))
        if markdown:
            self.pieces.append((markdown, False))


class _List(_Container):
    """Items with markers; the lists within them are indented."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._items = 0

    def add(self, child: _Element, markdown: str) -> None:
        if child.name == "list_item":
            own = "".join(text for text, block in child.pieces if not block).strip()
            nested = [text for text, block in child.pieces if block]
        else:
            own, nested = ("", [markdown]) if isinstance(child, _List) else (markdown, [])
        if own:
            self._items += 1
            super().add(child, _list_item(own, f"{self._items}. " if self.name == "ordered_list" else "- "))
        for text in nested:
            super().add(child, "    " + text.replace("\n", "\n    "))

    def markdown(self) -> str:
        return "\n".join(text for text, _ in self.pieces)


class _Table(_Element):
    """Rows of cells, which may hold elements; the caption, and what else follows the cells."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._rows: list[list[tuple[str, list[str]]]] = [[]]
        self._before: list[str] = []
        self._after: list[str] = []

    def add_text(self, text: str) -> None:
        if self._rows[-1]:
            self._rows[-1][-1][1].append(text)
        elif text.strip():
            if self.name == "otsl":
                raise MalformedError(f"{quoted(text.strip())} stands outside a table cell")
            self._before.append(text.strip())

    def add(self, child: _Element, markdown: str) -> None:
        if child.name == "caption":
            self._before.append(markdown)
        elif self._rows[-1]:
            self._rows[-1][-1][1].append(markdown)
        else:
            self._after.append(markdown)

    def add_cell(self, token: str) -> None:
        if token != "nl":
            self._rows[-1].append((token, []))
        elif self._rows[-1]:
            self._rows.append([])

    def markdown(self) -> str:
        rows = [[OtslCell(token, "".join(texts).strip()) for token, texts in row] for row in self._rows if row]
        return "\n\n".join([*self._before, *([html_table(rows)] if rows else []), *self._after])


class _Picture(_Element):
    """A caption, and what is dropped."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.dropped: list[str] = []

    def add_text(self, text: str) -> None:
        self.dropped.append(text)

    def add(self, child: _Element, markdown: str) -> None:
        if child.name == "caption":
            self.pieces.append((markdown, True))
        else:
            self.dropped.append(markdown)

    def add_cell(self, token: str) -> None:
        """The data of a chart are not on the page."""


_KINDS: Mapping[str, type[_Element]] = {
    **dict.fromkeys(("", "doctag", "form", "key_value_region"), _Container),
    "inline": _Inline,
    **dict.fromkeys(("ordered_list", "unordered_list"), _List),
    **dict.fromkeys(("otsl", "document_index"), _Table),
    **dict.fromkeys(("picture", "chart"), _Picture),
}
"""Of the elements that hold more than text."""


class _Page:
    """The elements that are open, the page itself first, and what is dropped."""

    def __init__(self, has_title: bool) -> None:
        self._open: list[_Element] = [_Container("")]
        self._has_title = has_title
        self._dropped = Dropped()
        self._places = 0
        self._placed = 0

    def read_text(self, text: str) -> None:
        if text:
            self._open[-1].add_text(text)

    def read_void(self, token: str) -> None:
        if token in CELLS or token == "nl":
            self._placed += 1
            self._open[-1].add_cell(token)
        elif token != "page_break":
            self._places += 1

    def open(self, name: str, attributes: str) -> None:
        if len(self._open) > MAX_DEPTH:
            raise MalformedError(f"more than {MAX_DEPTH} elements stand within each other")
        if attributes.strip():
            self._dropped.add(attributes)
        self._placed += 1
        self._open.append(_KINDS.get(name, _Element)(name))

    def close(self, name: str) -> None:
        element = self._open[-1]
        if element.name != name:
            raise MalformedError(f"</{name}> closes " + (f"<{element.name}>" if element.name else "no element"))
        del self._open[-1]
        parent = self._open[-1]
        written = element.markdown()
        if isinstance(element, _Picture):
            self._dropped.add("".join(element.dropped))
        elif name in ("page_header", "page_footer", "smiles") or not (written or isinstance(element, _Container)):
            self._dropped.add(written)
            written = ""
        if written:
            parent.add(element, self._marked(name, written, isinstance(parent, _Container)))

    def markdown(self) -> str:
        """The whole page; MalformedError if something is missing, or if too much is dropped."""
        if len(self._open) > 1:
            raise MalformedError(f"<{self._open[-1].name}> is not closed")
        if self._places > MAX_PLACES * self._placed:
            raise MalformedError(f"{self._places:,} locations and links stand in {self._placed:,} elements and cells")
        self._dropped.check()
        return self._open[0].markdown()

    def _marked(self, name: str, text: str, own_line: bool) -> str:
        """The text of an element with the markdown that the element means."""
        if name == "title":
            return "# " + " ".join(text.split())
        if name.startswith("section_header"):
            level = max(1, int(name[-1]) + self._has_title)
            return "#" * min(level, 6) + " " + " ".join(text.split())
        if name == "formula":
            return display_formula(text) if own_line else inline_formula(text)
        if name == "code":
            text = _LANGUAGE.sub("", text, count=1)
            return f"```\n{text}\n```" if own_line else f"`{text}`"
        if name.startswith("checkbox"):
            return ("☐ " if "unselected" in name else "☑ ") + text
        return _list_item(text, "- ") if name == "list_item" and own_line else text


def _list_item(text: str, marker: str) -> str:
    """A number that the page prints stays, and a bullet that it prints becomes the marker."""
    if _NUMBER.match(text):
        return text
    return marker + _BULLET.sub("", text, count=1) if _BULLET.match(text) else marker + text
