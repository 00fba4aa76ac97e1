"""format: is a text a heading, bold or italic?"""

from __future__ import annotations

from ocr_verifiers.text.fuzzy_search import allowed_edits, contains
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import FormatTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def formatting(test: FormatTest, page: PreparedPage) -> Verdict:
    """Passes if one heading (bold span, italic span) of the page contains the text, within `max_diffs` edits.

    It may be longer than the text, never shorter: the heading `A` is not `A very long heading text`.
    """
    edits = allowed_edits(test.query, test.max_diffs)
    spans = page.formatted[test.format]
    for span in spans:
        written = span if test.case_sensitive else span.lower()
        if len(written) >= len(test.query) - edits and contains(test.query, written, edits):
            return PASS
    kind = "heading" if test.format == "heading" else f"{test.format} span"
    if not spans:
        return fail(f"no {kind} on the page")
    return fail(f"{quoted(test.query)} not found within {edits} edits in any {kind} of the page")
