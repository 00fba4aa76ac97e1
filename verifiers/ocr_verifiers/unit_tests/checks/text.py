"""present, absent: is a text on the page?

A match is a substring of the page within `max_diffs` Levenshtein edits of the text, and never more edits than half
the text's length. A page that is shorter than the text by more than this has no match.
"""

from __future__ import annotations

from ocr_verifiers.text.fuzzy_search import Match, allowed_edits, contains, first_match
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import TextTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def present(test: TextTest, page: PreparedPage) -> Verdict:
    """Passes if the text is in one of the test's windows of the page."""
    edits = allowed_edits(test.query, test.max_diffs)
    if any(contains(test.query, window, edits) for window in _windows(test, page)):
        return PASS
    return fail(f"{quoted(test.query)} not found within {edits} edits")


def absent(test: TextTest, page: PreparedPage) -> Verdict:
    """Passes if the text is in none of the test's windows of the page."""
    edits = allowed_edits(test.query, test.max_diffs)
    for window in _windows(test, page):
        if not contains(test.query, window, edits):
            continue
        match: Match | None = first_match(test.query, window, edits)
        if match is not None:
            return fail(f"found {quoted(window[match.start : match.end])}, {match.distance} edits away")
    return PASS


def _windows(test: TextTest, page: PreparedPage) -> list[str]:
    """The parts of the page that are searched: all of it, or its first and last characters, separately."""
    text = page.strict if test.case_sensitive else page.lower
    windows = []
    if test.first_n:
        windows.append(text[: test.first_n])
    if test.last_n:
        windows.append(text[-test.last_n :])
    return windows or [text]
