"""order: some near match of `before` starts before some near match of `after`."""

from __future__ import annotations

from ocr_verifiers.text.olmocr import query
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.olmocr.near_matches import starts
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import OrderTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def order(test: OrderTest, page: PreparedPage) -> Verdict:
    """Passes if the first match of `before` starts before the last of `after`.

    Quirk, kept: both may be the same place, if its near matches start a few characters apart.
    """
    before, after = query(test.before), query(test.after)
    text = page.olmocr
    # A text that occurs exactly has a match that starts there, which saves one search or both.
    exact_before, exact_after = text.find(before), text.find(after)
    if 0 <= exact_before < exact_after:
        return PASS
    after_starts = starts(after, text, test.max_diffs)
    if after_starts is None:
        return fail(f"after: {quoted(after)} not found within {test.max_diffs} edits")
    if 0 <= exact_before < after_starts[1]:
        return PASS
    before_starts = starts(before, text, test.max_diffs)
    if before_starts is None:
        return fail(f"before: {quoted(before)} not found within {test.max_diffs} edits")
    first, last = before_starts[0], after_starts[1]
    if first < last:
        return PASS
    return fail(f"{quoted(before, 30)} first starts at {first}, {quoted(after, 30)} last at {last}")
