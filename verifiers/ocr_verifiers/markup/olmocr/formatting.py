"""Formatted spans as olmOCR finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ocr_verifiers.text.olmocr import normalize

_MARKDOWN = {
    "heading": (re.compile(r"^#{1,6}\s+(.+?)$", re.MULTILINE),),
    "bold": (re.compile(r"\*\*(.*?)\*\*", re.DOTALL), re.compile(r"__(.*?)__", re.DOTALL)),
    # From one single marker to the next.
    "italic": (
        re.compile(r"(?<!\*)\*(?!\*)(.*?)(?<!\*)\*(?!\*)", re.DOTALL),
        re.compile(r"(?<!_)_(?!_)(.*?)(?<!_)_(?!_)", re.DOTALL),
    ),
}


_TAGS = {
    name: tuple((re.compile(f"<{tag}", re.IGNORECASE), re.compile(f"</{tag}>", re.IGNORECASE)) for tag in tags)
    for name, tags in {"heading": ("h[1-6]",), "bold": ("b", "strong"), "italic": ("i", "em")}.items()
}


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
    """The text between an opening tag and the next closing one; linear time, however many tags are never closed."""
    position = 0
    while tag := opening.search(text, position):
        start = text.find(">", tag.end()) + 1
        end = closing.search(text, start) if start else None
        if end is None:
            return
        yield text[start : end.start()]
        position = end.end()
