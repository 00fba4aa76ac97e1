"""order: some near match of `before` starts before some near match of `after`."""

from __future__ import annotations

from ocr_verifiers.text.olmocr import query
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.olmocr.near_matches import starts
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import OrderTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def order(test: OrderTest, page: PreparedPage) -> Verdict:
    """Passes if the first match of `before` starts before the last of `after`.

    Quirk, kept: both may be the same place if their near matches start a few characters apart.
    """
    before, after = query(test.before), query(test.after)
    text = page.olmocr
    # A text that stands on the page as it is has a match that starts there: one search, or none, is enough then.
    exact_before, exact_after = text.find(before), text.find(after)
    if 0 <= exact_before < exact_after:
        return PASS
    after_starts = starts(after, text, test.max_diffs)
    if after_starts is None:
        return fail(f"after: {shown(after)} not found within {test.max_diffs} edits")
    if 0 <= exact_before < after_starts[1]:
        return PASS
    before_starts = starts(before, text, test.max_diffs)
    if before_starts is None:
        return fail(f"before: {shown(before)} not found within {test.max_diffs} edits")
    if before_starts[0] < after_starts[1]:
        return PASS
    return fail(f"{shown(before, 30)} first starts at {before_starts[0]}, {shown(after, 30)} last at {after_starts[1]}")
