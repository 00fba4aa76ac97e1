"""format: is a text set as a heading, in bold or in italics?"""

from __future__ import annotations

from ocr_verifiers.text.fuzzy_search import allowed_edits, contains
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import FormatTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def formatting(test: FormatTest, page: PreparedPage) -> Verdict:
    """Passes if one heading (bold stretch, italic stretch) of the page has the text, within `max_diffs` edits.

    It may have more than the text, never less: the heading `A` is not `A very long heading text`.
    """
    edits = allowed_edits(test.query, test.max_diffs)
    stretches = page.formatted[test.format]
    for stretch in stretches:
        written = stretch if test.case_sensitive else stretch.lower()
        if len(written) >= len(test.query) - edits and contains(test.query, written, edits):
            return PASS
    kind = "heading" if test.format == "heading" else f"{test.format} stretch"
    if not stretches:
        return fail(f"no {kind} on the page")
    return fail(f"{shown(test.query)} not found within {edits} edits in any {kind} of the page")
