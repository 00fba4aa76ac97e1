"""footnote: a marker and the text before and after it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ocr_verifiers.text.olmocr import normalize, query
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.olmocr.text import similar, threshold
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import FootnoteTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

_REACH = 200
"""How many characters before or after a marker are searched for its context."""
_SUP = re.compile("<sup", re.IGNORECASE)
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def footnote(test: FootnoteTest, page: PreparedPage) -> Verdict:
    """Passes if the marker is there as `[^m]`, `<sup>m</sup>` or a superscript, with its contexts nearby.

    Quirks, kept: `¹²` contains the marker 1 (`<sup>12</sup>` does not), and the contexts before and after may belong
    to different occurrences. Only letters and digits of contexts are compared, as in `present`, within twice the
    context's length of the marker.
    """
    text = page.text
    positions = list(_positions(test.marker, text))
    if not positions:
        return fail(f"marker {quoted(test.marker)} not found")
    before, after = query(test.appears_before_marker or ""), query(test.appears_after_marker or "")
    if before:
        wanted = _letters(before)
        around = {text[max(0, start - _REACH) : start] for start, _ in positions}
        near = (_letters(context)[-2 * len(wanted) :] for context in around)
        if not _any_similar(wanted, near, threshold(before, test.max_diffs)):
            return fail(f"{quoted(before)} is not before any marker {quoted(test.marker)}")
    if after:
        wanted = _letters(after)
        around = {text[end : end + _REACH] for _, end in positions}
        near = (_letters(context)[: 2 * len(wanted) or None] for context in around)
        if not _any_similar(wanted, near, threshold(after, test.max_diffs)):
            return fail(f"{quoted(after)} is not after any marker {quoted(test.marker)}")
    return PASS


def _any_similar(wanted: str, contexts: Iterable[str], min_score: float) -> bool:
    return any(context and similar(wanted, context, min_score) for context in contexts)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, normalize(text))).lower()


def _positions(marker: str, text: str) -> Iterator[tuple[int, int]]:
    """Where the marker starts and ends, one spelling after the other."""
    for found in re.finditer(rf"\[\^{re.escape(marker)}\](?!:)", text):
        yield found.span()
    # `<sup[^>]*>marker</sup>`, searched from its end: linear time, however many tags are never closed.
    for found in re.finditer(f">{re.escape(marker)}</sup>", text, re.IGNORECASE):
        start = text.rfind(">", 0, found.start()) + 1
        opening = _SUP.search(text, start, found.start())
        if opening:
            yield opening.start(), found.end()
    if all(character in "0123456789" for character in marker):
        raised = marker.translate(_SUPERSCRIPT)
        for found in re.finditer(re.escape(raised), text):
            yield found.span()
