"""order: does one text come before another?"""

from __future__ import annotations

from ocr_verifiers.text.fuzzy_search import allowed_edits, first_match, last_match, surely_precedes
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import OrderTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def order(test: OrderTest, page: PreparedPage) -> Verdict:
    """Passes if the first match of `before` starts before the last match of `after`.

    One place on the page is one match: if the same text is both `before` and `after`, it must occur twice.
    """
    before, after = test.queries
    before_edits, after_edits = allowed_edits(before, test.max_diffs), allowed_edits(after, test.max_diffs)
    if surely_precedes(before, after, page.strict, before_edits, after_edits):
        return PASS
    first = first_match(before, page.strict, before_edits)
    if first is None:
        return fail(f"before: {quoted(before)} not found within {test.max_diffs} edits")
    last = last_match(after, page.strict, after_edits)
    if last is None:
        return fail(f"after: {quoted(after)} not found within {test.max_diffs} edits")
    if first.start < last.start:
        return PASS
    return fail(f"{quoted(before, 30)} first starts at {first.start}, {quoted(after, 30)} last at {last.start}")
