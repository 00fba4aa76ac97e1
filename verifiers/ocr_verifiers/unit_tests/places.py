"""Where on a page a unit test looks."""

from __future__ import annotations

from typing import NamedTuple

from rapidfuzz import fuzz

from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import TextTest, UnitTest

ENOUGH = 60.0
"""Per cent of common characters from which a passage is taken for the text that is looked for, only misread."""


class Place(NamedTuple):
    """`text[start:end]` of a page's `strict` text."""

    start: int
    end: int


def find_place(test: UnitTest, page: PreparedPage) -> Place | None:
    """The passage that is most like the text of a `present` or `absent` test, found or misread.

    None if nothing on the page is like it, and for every other test: an order, a table or a formula is a matter of the
    whole page, and so is a text that has to be near its top or bottom.
    """
    if not isinstance(test, TextTest) or test.first_n or test.last_n or not test.query:
        return None
    text = page.strict if test.case_sensitive else page.lower
    if (start := text.find(test.query)) >= 0:
        return Place(start, start + len(test.query))
    if not test.case_sensitive and len(text) != len(page.strict):
        return None  # a few letters change their length with their case
    if len(text) < len(test.query) / 2:
        return None  # the page would be searched for in the text
    found = fuzz.partial_ratio_alignment(test.query, text, score_cutoff=ENOUGH)
    return Place(found.dest_start, found.dest_end) if found else None
