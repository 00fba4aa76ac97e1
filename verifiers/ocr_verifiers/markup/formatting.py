"""Headings, bold and italic spans of a page, in markdown and HTML, in linear time.

    heading   `# Title` to `###### Title`, a line underlined with `==` or `--`, <h1> to <h6>
    bold      **text**, __text__, <b>, <strong>
    italic    *text*, _text_, <i>, <em>           ***text*** is both

Each span must close in its own paragraph: an opening marker or tag without a closing one formats nothing. Markers
follow the rules of `text.emphasis`, by which `normalize.markdown` drops them. Code is not treated specially.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ocr_verifiers.text.emphasis import Span, emphases
from ocr_verifiers.text.normalize import strict

FORMATS = ("heading", "bold", "italic")

_PARAGRAPH_END = re.compile(r"\n[ \t\r]*\n")
_ATX = re.compile(r"^ {0,3}#{1,6}[ \t]+(?=\S)([^\n]*)$", re.MULTILINE)
_UNDERLINE = re.compile(r" {0,3}(?:={2,}|-{2,})[ \t\r]*")
_TAG = re.compile(r"<(/?)(h[1-6]|b|strong|i|em)(?:\s[^<>]*)?>", re.IGNORECASE)
_FORMAT_OF_TAG = {"b": "bold", "strong": "bold", "i": "italic", "em": "italic"}

_DROPPED = "\u2060"
"""A character that `normalize.strict` drops. It replaces markers inside spans, as in `***one** two*`."""


def formatted_texts(page: str) -> Mapping[str, list[str]]:
    """The outermost spans of each format in order, normalised as unit tests compare texts; equal ones only once."""
    spans: dict[str, list[Span]] = {name: [] for name in FORMATS}
    pairs = list(emphases(page))
    emphasized = [("bold" if width == 2 else "italic", (opening[1], closing[0])) for width, opening, closing in pairs]
    for name, span in (*_headings(page), *_tags(page), *emphasized):
        spans[name].append(span)
    characters = list(page)
    for start, stop in {marker for _, *both in pairs for marker in both}:
        characters[start:stop] = _DROPPED * (stop - start)
    page = "".join(characters)
    texts = {}
    for name in FORMATS:
        written = dict.fromkeys(page[start:stop] for start, stop in _union(spans[name]))
        texts[name] = [text for text in dict.fromkeys(map(strict, written)) if text]
    return texts


def _headings(page: str) -> Iterator[tuple[str, Span]]:
    """Markdown headings, without a closing row of #. Only the one line above an underline is its heading."""
    for heading in _ATX.finditer(page):
        written = heading[1].rstrip()
        closed = written.rstrip("#")
        if closed != written and closed[-1:] in ("", " ", "\t"):
            written = closed
        yield "heading", (heading.start(1), heading.start(1) + len(written))
    start, above = 0, None
    for line in page.splitlines(keepends=True):
        if above is not None and _UNDERLINE.fullmatch(line.rstrip("\n")):
            yield "heading", (above, start)
            above = None
        else:
            above = start if line.strip() and not _is_block(line) else None
        start += len(line)


def _is_block(line: str) -> bool:
    """True for a line that an underline does not make a heading: a table row, a heading, a list item."""
    return "|" in line or line.lstrip().startswith(("#", "- ", "* ", "+ ", ">", "<", "---", "==="))


def _tags(page: str) -> Iterator[tuple[str, Span]]:
    """HTML elements. A closing tag closes the last open tag with its name; `<body>` and `<image>` do not count."""
    opened: dict[str, list[int]] = {}
    for at, found in _by_paragraph(page, _TAG):
        if found is None:
            opened.clear()
            continue
        name = found[2].lower()
        if not found[1]:
            opened.setdefault(name, []).append(found.end())
        elif opened.get(name):
            yield _FORMAT_OF_TAG.get(name, "heading"), (opened[name].pop(), at)


def _by_paragraph(page: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, re.Match[str] | None]]:
    """Each match with its start; None where a paragraph ends."""
    ends = [end.start() for end in _PARAGRAPH_END.finditer(page)]
    ends.reverse()
    for found in pattern.finditer(page):
        while ends and ends[-1] <= found.start():
            yield ends.pop(), None
        yield found.start(), found


def _union(spans: list[Span]) -> list[Span]:
    """The outermost spans. Overlapping ones are merged, so that together they are no longer than the page."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged
