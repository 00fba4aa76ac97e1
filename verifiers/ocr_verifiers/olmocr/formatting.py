"""format: a text is part of a heading, of something bold, or of something in italics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ocr_verifiers.olmocr.normalize import normalize, query
from ocr_verifiers.olmocr.text import similar, threshold
from ocr_verifiers.page import PreparedPage
from ocr_verifiers.records import FormatTest
from ocr_verifiers.verdict import PASS, Verdict, fail, shown

_MARKDOWN = {
    "heading": (re.compile(r"^#{1,6}\s+(.+?)$", re.MULTILINE),),
    "bold": (re.compile(r"\*\*(.*?)\*\*", re.DOTALL), re.compile(r"__(.*?)__", re.DOTALL)),
    # From one marker that stands alone to the next.
    "italic": (
        re.compile(r"(?<!\*)\*(?!\*)(.*?)(?<!\*)\*(?!\*)", re.DOTALL),
        re.compile(r"(?<!_)_(?!_)(.*?)(?<!_)_(?!_)", re.DOTALL),
    ),
}
_TAGS = {
    name: tuple((re.compile(f"<{tag}", re.IGNORECASE), re.compile(f"</{tag}>", re.IGNORECASE)) for tag in tags)
    for name, tags in {"heading": ("h[1-6]",), "bold": ("b", "strong"), "italic": ("i", "em")}.items()
}


def formatting(test: FormatTest, page: PreparedPage) -> Verdict:
    """Passes if some span of that format is similar to the text, as in `present`.

    Quirks, kept: a span that is a part of the text will do (the heading "A" for any text with an A); `<body>` opens
    bold and `<img>` italics; a heading's text may follow on the next line; bold and italics may run over many.
    """
    text = query(test.text)
    spans = page.olmocr_spans[test.format]
    if not test.case_sensitive:
        text, spans = text.lower(), tuple(span.lower() for span in spans)
    least = threshold(text, test.max_diffs)
    if any(similar(text, span, least) for span in spans):
        return PASS
    return fail(f"{shown(text)} is in none of {len(spans)} spans of format {test.format}")


def formatted_spans(text: str) -> Mapping[str, tuple[str, ...]]:
    """The normalised spans of a page by format."""
    spans = {}
    for name, patterns in _MARKDOWN.items():
        found = [span for pattern in patterns for span in pattern.findall(text)]
        for opening, closing in _TAGS[name]:
            found += _between_tags(text, opening, closing)
        spans[name] = tuple(dict.fromkeys(map(normalize, found)))
    return spans


def _between_tags(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> Iterator[str]:
    """What stands between an opening tag and the next closing one, in linear time however many are never closed."""
    position = 0
    while tag := opening.search(text, position):
        start = text.find(">", tag.end()) + 1
        end = closing.search(text, start) if start else None
        if end is None:
            return
        yield text[start : end.start()]
        position = end.end()
