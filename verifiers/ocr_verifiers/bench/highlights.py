"""Where the texts of a unit test, or their closest matches, are on a page; for readers, not for verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from rapidfuzz import fuzz

from ocr_verifiers.text.fuzzy_search import first_match
from ocr_verifiers.text.normalize import quotes, strict
from ocr_verifiers.unit_tests.records import (
    FootnoteTest,
    FormatTest,
    MathTest,
    OrderTest,
    TableTest,
    TextTest,
    UnitTest,
)

Tone = Literal["good", "near", "bad"]
"""What the test wanted, what is close to it, and what should not be there."""

_LONGEST_QUERY = 500
"""Only this many characters of a query are searched for."""
_SHORTEST_NEAR = 4
"""For shorter queries only exact matches are meaningful."""
_MIN_SIMILARITY = 65.0
_WINDOW_SLACK = 40
"""About how many more characters a page has at each end than its normalised form."""


class Highlight(NamedTuple):
    """text[start:end], and the number of the test that it belongs to."""

    start: int
    end: int
    test: int
    tone: Tone


class Segment(NamedTuple):
    """A piece of a text and the highlights that cover it."""

    text: str
    tests: tuple[int, ...]
    tone: Tone | None


def find_highlights(text: str, tests: Iterable[tuple[int, UnitTest, bool]]) -> list[Highlight]:
    """The best match of each (number, test, passed) in the raw text of a page, unless nothing is close.

    A passed `absent` test and a `baseline` test have no highlight.
    """
    found = []
    for number, test, passed in tests:
        tone: Tone = "bad" if test.type == "absent" else "good" if passed else "near"
        if test.type == "absent" and passed:
            continue
        found += [Highlight(start, end, number, tone) for start, end in _places(test, text)]
    return found


def best_match(query: str, text: str) -> tuple[int, int] | None:
    """(start, end) of the first exact match, or else of the most similar part within len(query) / 3 edits."""
    query = query[:_LONGEST_QUERY]
    if not query:
        return None
    at = text.find(query)
    if at >= 0:
        return at, at + len(query)
    if len(query) < _SHORTEST_NEAR or len(text) < len(query):
        return None
    alignment = fuzz.partial_ratio_alignment(query, text, score_cutoff=_MIN_SIMILARITY)
    if alignment is None:
        return None
    edits = len(query) // 3
    start = max(0, alignment.dest_start - edits)
    window = text[start : alignment.dest_end + edits]
    for allowed in sorted({edits // 8, edits // 4, edits // 2, edits}):
        match = first_match(query, window, allowed)
        if match is not None:
            return start + match.start, start + match.end
    return None


def segments(text: str, highlights: Sequence[Highlight]) -> Iterator[Segment]:
    """The whole text in pieces, each covered by the same highlights throughout; the worst tone wins."""
    borders = sorted({0, len(text), *(h.start for h in highlights), *(h.end for h in highlights)})
    by_start = sorted(highlights, key=lambda h: h.start)
    active: list[Highlight] = []
    for start, end in pairwise(borders):
        active = [h for h in active if h.end > start]
        while by_start and by_start[0].start <= start:
            active.append(by_start.pop(0))
        tones = {h.tone for h in active}
        tone: Tone | None = "bad" if "bad" in tones else "near" if "near" in tones else "good" if tones else None
        yield Segment(text[start:end], tuple(sorted({h.test for h in active})), tone)


def _places(test: UnitTest, text: str) -> Iterator[tuple[int, int]]:
    """The matches of a test, according to its kind."""
    if isinstance(test, TextTest):
        yield from _in_window(test, text)
    elif isinstance(test, OrderTest):
        yield from _near(test.queries, text)
    elif isinstance(test, FormatTest):
        yield from _near([strict(test.text)], text)
    elif isinstance(test, MathTest):
        yield from _near([test.math], text)
    elif isinstance(test, TableTest):
        yield from _cell(strict(test.cell), text)
    elif isinstance(test, FootnoteTest):
        yield from _near([f"[^{test.marker}]"], text, exact=True)


def _in_window(test: TextTest, text: str) -> Iterator[tuple[int, int]]:
    """The query in the test's window. The window's ends are not exact, because they count normalised characters."""
    windows = []
    if test.first_n:
        windows.append((0, test.first_n + _WINDOW_SLACK))
    if test.last_n:
        windows.append((max(0, len(text) - test.last_n - _WINDOW_SLACK), len(text)))
    for start, end in windows or [(0, len(text))]:
        for match in _near([test.query], text[start:end], lower=not test.case_sensitive):
            yield start + match[0], start + match[1]
            return


def _near(queries: Iterable[str], text: str, lower: bool = False, exact: bool = False) -> Iterator[tuple[int, int]]:
    folded = _folded(text, lower)
    for query in queries:
        if exact and query not in folded:
            continue
        match = best_match(query, folded)
        if match is not None:
            yield match


def _cell(cell: str, text: str) -> Iterator[tuple[int, int]]:
    """The first cell of a markdown or HTML table with this text, or else its best match anywhere."""
    folded = _folded(text)
    in_table = re.search(rf"[|>] ?({re.escape(cell)}) ?[|<]", folded) if cell else None
    match = in_table.span(1) if in_table else best_match(cell, folded)
    if match is not None:
        yield match


def _folded(text: str, lower: bool = False) -> str:
    """The text with plain quotes, dashes and spaces, character by character, so that positions stay the same."""
    text = re.sub(r"\s", " ", quotes(text))
    if lower:
        text = "".join(low if len(low := character.lower()) == 1 else character for character in text)
    return text
