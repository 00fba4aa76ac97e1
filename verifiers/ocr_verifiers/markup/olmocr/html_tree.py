"""The table markup of a page as in BeautifulSoup's tree from Python 3.11's html.parser, in linear time.

Tags are never closed implicitly: `<td>a<td>b` is a cell in a cell. Whatever is not a tag by that parser's rules is
text, and two quirks of its handling of `&#` end a page's markup early. They are kept because verdicts depend on them;
differential tests on mutated tables compare this reader with that tree.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html import unescape
from html.entities import html5

# Nearly all tags look like this; every other `<` and `&` takes the slow path.
_PLAIN = re.compile(r'<(/?)([a-zA-Z][a-zA-Z0-9]*)((?: [a-z]+="[^"<>&]*")*)>|[<&]')
_PLAIN_SPAN = re.compile(r' (rowspan|colspan)="([^"]*)"')

_NAME = re.compile(r"[a-zA-Z][^\t\n\r\f />\x00]*")
_GAP = re.compile(r"(?:\s|/(?!>))*")
_ATTRIBUTE = re.compile(r"""((?<=['"\s/])[^\s/>][^\s/=>]*)(\s*=+\s*('[^']*'|"[^"]*"|(?!['"])[^>\s]*))?(?:\s|/(?!>))*""")
_ATTRIBUTES = re.compile(
    r"""(?:[\s/]*(?:(?<=['"\s/])[^\s/>][^\s/=>]*"""
    r"""(?:\s*=+\s*(?:'[^']*'|"[^"]*"|(?!['"])[^>\s]*)\s*)?(?:\s|/(?!>))*)*)?\s*"""
)
_END_TAG = re.compile(r"</\s*([a-zA-Z][-.a-zA-Z0-9:_]*)\s*>")
_COMMENT_END = re.compile(r"--\s*>")
_SECTION_NAME = re.compile(r"([a-zA-Z][-_.a-zA-Z0-9]*)\s*")
_SECTION_END = re.compile(r"]\s*]\s*>")
_OFFICE_SECTION_END = re.compile(r"]\s*>")
_NUMBER = re.compile(r"&#([0-9]+|[xX][0-9a-fA-F]+)(?:;|(?=[^0-9a-fA-F]))")
_ENTITY = re.compile(r"&([a-zA-Z][-.a-zA-Z0-9]*)(?:;|(?=[^a-zA-Z0-9]))")
_ENTITY_START = re.compile(r"&[a-zA-Z#]")
_NEVER_CLOSED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ=/")

_VOID = frozenset(
    "area base basefont bgsound br col command embed frame hr image img input isindex keygen link menuitem meta "
    "nextid param source spacer track wbr".split()
)
_NOT_TEXT = frozenset("rp rt script style template".split())
_RAW = {name: re.compile(rf"</\s*{name}\s*>", re.IGNORECASE) for name in ("script", "style")}


@dataclass
class RawCell:
    """A `<td>` or `<th>` directly below a `<tr>`; its text is `Markup.text[start:end]`."""

    start: int
    end: int
    rowspan: str
    colspan: str
    heading: bool
    """`<th>`, or within a `<thead>`."""


@dataclass
class RawTable:
    """A `<table>` with all rows inside it, including those of nested tables: `Markup.rows[first:last]`."""

    first: int
    last: int


@dataclass
class Markup:
    """Tables and rows in the order of their tags."""

    tables: list[RawTable] = field(default_factory=list)
    rows: list[list[RawCell]] = field(default_factory=list)
    text: str = ""
    rejected: str = ""
    """Why the parser rejects the page; empty if it does not."""


def read_html(text: str) -> Markup:
    """The tables of a page, in the order of their `<table>` tags."""
    reader = _HtmlReader(text)
    try:
        if "<table" in text.lower() or "<![" in text:
            reader.read()
    except _RejectedError as error:
        return Markup(rejected=str(error))
    return reader.markup()


class _RejectedError(Exception):
    pass


class _Tree:
    """The open tags, and the contents of their tables."""

    def __init__(self) -> None:
        self._markup = Markup()
        self._open: list[tuple[str, RawCell | RawTable | list[RawCell] | None]] = []
        self._count: Counter[str] = Counter()
        self._not_text = 0
        self._chunks: list[str] = []
        self._length = 0

    def data(self, text: str) -> None:
        if not self._not_text and (self._count["td"] or self._count["th"]):
            self._chunks.append(text)
            self._length += len(text)

    def start(self, name: str, rowspan: str = "", colspan: str = "") -> None:
        if name in _VOID:
            if name == "br" and (self._count["td"] or self._count["th"]):
                self._chunks.append("\n")  # also within `<template>`
                self._length += 1
            return
        item: RawCell | RawTable | list[RawCell] | None = None
        if name == "td" or name == "th":
            row = self._open[-1][1] if self._open else None
            if isinstance(row, list):
                heading = name == "th" or self._count["thead"] > 0
                item = RawCell(self._length, -1, rowspan, colspan, heading)
                row.append(item)
        elif name == "tr":
            if self._count["table"]:
                item = []
                self._markup.rows.append(item)
        elif name == "table":
            item = RawTable(len(self._markup.rows), -1)
            self._markup.tables.append(item)
        self._open.append((name, item))
        self._count[name] += 1
        self._not_text += name in _NOT_TEXT

    def end(self, name: str) -> None:
        if not self._count[name]:
            return
        while True:
            closed, item = self._open.pop()
            self._count[closed] -= 1
            if item is not None:
                self._finish(item)
            elif closed in _NOT_TEXT:
                self._not_text -= 1
            if closed == name:
                return

    def markup(self) -> Markup:
        """The result, with all open tags closed."""
        for _, item in self._open:
            if item is not None:
                self._finish(item)
        self._markup.text = "".join(self._chunks)
        return self._markup

    def _finish(self, item: RawCell | RawTable | list[RawCell]) -> None:
        if isinstance(item, RawCell):
            item.end = self._length
        elif isinstance(item, RawTable):
            item.last = len(self._markup.rows)


class _HtmlReader(_Tree):
    """Reads tags, text and references in two rounds: the first stops at incomplete markup, the second makes it text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._work = 500_000 + 10 * len(text)  # how many characters may be read for tags that do not end
        self._missing: set[re.Pattern[str] | str] = set()

    def read(self) -> None:
        text, size = self._text, len(self._text)
        position, second_round = 0, False
        raw = ""
        while position < size:
            if raw:
                match = _RAW[raw].search(text, position)
                if not match:
                    return
                position = match.end()
                if _END_TAG.fullmatch(match.group()):  # a name with a long s is a different name
                    self.end(raw)
                    raw = ""
                continue
            match = _PLAIN.search(text, position)
            if not match:
                self.data(text[position:])
                return
            at = match.start()
            if at > position:
                self.data(text[position:at])
            slash, name, attributes = match.groups()
            if name:
                position = match.end()
                name = name.lower()
                if slash and not attributes:
                    self.end(name)
                    continue
                if not slash:
                    spans = dict(_PLAIN_SPAN.findall(attributes)) if attributes else {}
                    self.start(name, spans.get("rowspan", ""), spans.get("colspan", ""))
                    if name in _RAW:
                        raw = name
                    continue
            if text[at] == "&":
                after, stop = self._reference(at, second_round)
            else:
                after, raw = self._markup_at(at)
                stop = after < 0 and not second_round
                if after < 0 and second_round:
                    after = self._as_text(at)
            if not stop:
                position = after
            elif second_round:
                self.data(text[after:])
                return
            else:
                second_round = True
                position = after if after >= 0 else at

    def _reference(self, at: int, second_round: bool) -> tuple[int, bool]:
        """Where to continue after an `&`, and whether the round ends there."""
        text = self._text
        if text.startswith("&#", at):
            if match := _NUMBER.match(text, at):
                self.data(_character(match.group(1)))
                return match.end(), False
            if self._find(";", at) >= 0:
                self.data("&#")
                return at + 2, True
            return at, True
        if match := _ENTITY.match(text, at):
            self.data(_ENTITIES.get(match.group(1), "&" + match.group(1)))
            return match.end(), False
        if match := _ENTITY_START.match(text, at):
            return at + (second_round and match.end() == len(text)), True
        if at + 1 < len(text):
            self.data("&")
            return at + 1, False
        return at, True

    def _markup_at(self, at: int) -> tuple[int, str]:
        """Where to continue after a `<`, or -1 if its markup is incomplete; and the raw element that it opens."""
        text = self._text
        following = text[at + 1 : at + 2]
        if following.isascii() and following.isalpha():
            return self._start_tag(at)
        if following == "/":
            return self._end_tag(at), ""
        if text.startswith("<!--", at):
            return self._search(_COMMENT_END, at + 4), ""
        if following == "?":
            return self._find(">", at + 2) + 1 or -1, ""
        if text.startswith("<![", at):
            return self._section(at), ""
        if following == "!":
            is_type = text[at : at + 9].lower() == "<!doctype"
            return self._find(">", at + (9 if is_type else 2)) + 1 or -1, ""
        if following:
            self.data("<")
            return at + 1, ""
        return -1, ""

    def _start_tag(self, at: int) -> tuple[int, str]:
        text = self._text
        name_match = _NAME.match(text, at + 1)
        assert name_match
        attributes = _ATTRIBUTES.match(text, name_match.end())
        assert attributes
        end = attributes.end()
        following = text[end : end + 1]
        if following == ">":
            end += 1
        elif text.startswith("/>", end):
            end += 2
        elif not following or following in _NEVER_CLOSED:
            self._work -= end - at
            if self._work < 0:
                raise _RejectedError("it takes too long to find where its tags end")
            return -1, ""
        name = name_match.group().lower()
        spans = {"rowspan": "", "colspan": ""}
        position = _GAP.match(text, name_match.end()).end()  # type: ignore[union-attr]
        while position < end and (match := _ATTRIBUTE.match(text, position)):
            attribute, given, value = match.groups()
            if attribute.lower() in spans:
                if not given:
                    value = ""
                elif value[:1] == value[-1:] and value[:1] in ("'", '"'):
                    value = value[1:-1]
                spans[attribute.lower()] = _unescaped(value)
            position = match.end()
        closing = text[position:end].strip()
        if closing not in (">", "/>"):
            self.data(text[at:end])
            return end, ""
        self.start(name, spans["rowspan"], spans["colspan"])
        if closing == ">":
            return end, name if name in _RAW else ""
        self.end(name)
        return end, ""

    def _end_tag(self, at: int) -> int:
        text = self._text
        close = self._find(">", at + 1)
        if close < 0:
            return -1
        if match := _END_TAG.match(text, at):
            self.end(match.group(1).lower())
            return match.end()
        if match := _NAME.match(text, at + 2):
            self.end(match.group().lower())
            return self._find(">", match.end()) + 1
        return close + 1

    def _section(self, at: int) -> int:
        match = _SECTION_NAME.match(self._text, at + 3)
        if not match:
            if at + 3 == len(self._text):
                return -1
            raise _RejectedError('"<![" without a name')
        if match.end() == len(self._text):
            return -1
        name = match.group(1).lower()
        if name in ("temp", "cdata", "ignore", "include", "rcdata"):
            end = self._search(_SECTION_END, at + 3)
        elif name in ("if", "else", "endif"):
            end = self._search(_OFFICE_SECTION_END, at + 3)
        else:
            raise _RejectedError(f'"<![{name[:20]}" is not a known section')
        content = self._text[at + 3 : end]
        if end >= 0 and content[:6].upper() == "CDATA[":
            closing = _SECTION_END.search(content)
            assert closing
            self._cdata(content[6 : closing.start()])
        return end

    def _cdata(self, text: str) -> None:
        """Its content is text everywhere, also in `<template>`."""
        hidden, self._not_text = self._not_text, 0
        self.data(text)
        self._not_text = hidden

    def _as_text(self, at: int) -> int:
        """Makes incomplete markup text, up to the next bracket; references in it are kept."""
        end = self._find(">", at + 1) + 1 or self._find("<", at + 1)
        end = end if end > 0 else at + 1
        self.data(self._text[at:end])
        return end

    def _find(self, what: str, start: int) -> int:
        """`find`; failed searches take linear time over all calls."""
        if what in self._missing:
            return -1
        found = self._text.find(what, start)
        if found < 0:
            self._missing.add(what)
        return found

    def _search(self, what: re.Pattern[str], start: int) -> int:
        """The end of the first match, or -1; failed searches take linear time, as in `_find`."""
        if what in self._missing:
            return -1
        found = what.search(self._text, start)
        if not found:
            self._missing.add(what)
            return -1
        return found.end()


_ENTITIES = {name.rstrip(";"): character for name, character in sorted(html5.items(), reverse=True)}
_CONTROLS = {number: bytes([number]).decode("cp1252", "ignore") or chr(number) for number in range(0x80, 0xA0)}


def _unescaped(value: str) -> str:
    try:
        return unescape(value)
    except ValueError as error:
        raise _RejectedError("a character reference of more than 4,300 digits") from error


def _character(number: str) -> str:
    """The character of a numeric reference: Windows-1252 for C1 controls, U+FFFD for invalid ones."""
    try:
        code = int(number[1:], 16) if number[0] in "xX" else int(number)
    except ValueError as error:
        raise _RejectedError("a character reference of more than 4,300 digits") from error
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return _CONTROLS.get(code) or chr(code)
