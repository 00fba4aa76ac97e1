"""present, absent: rapidfuzz's partial ratio between the text and the page, against 1 - max_diffs / len(text).

The partial ratio of a shorter and a longer string is the maximum of 1 - indel distance / summed lengths, over windows
of the longer one that are as long as the shorter one (at its ends: shorter). Quirks, kept: a page that is shorter than
the text is searched in the text, so the page "h" contains every text with an h; `max_diffs` of the text's length
matches any page; the first and last characters of the page are joined, and 0 of them is the same as null.
"""

from __future__ import annotations

from rapidfuzz import fuzz

from ocr_verifiers.text.olmocr import query
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import TextTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

_ROUNDING = 1e-6
"""Points of 100. Scores this close to the threshold are computed in full and compared as olmOCR does."""


def present(test: TextTest, page: PreparedPage) -> Verdict:
    """Passes if the text is in the test's window of the page, or the window is in the text."""
    text, window = _text(test), _window(test, page)
    if similar(text, window, threshold(text, test.max_diffs)):
        return PASS
    return fail(f"no part of the page reaches {threshold(text, test.max_diffs):.3f} for {quoted(text)}")


def absent(test: TextTest, page: PreparedPage) -> Verdict:
    """Passes where `present` fails."""
    text, window = _text(test), _window(test, page)
    if not similar(text, window, threshold(text, test.max_diffs)):
        return PASS
    return fail(f"a part of the page reaches {threshold(text, test.max_diffs):.3f} for {quoted(text)}")


def threshold(text: str, max_diffs: int) -> float:
    """The score that a match needs: 1 - max_diffs / len(text)."""
    return 1.0 - max_diffs / (len(text) or 1)


def similar(text: str, page: str, min_score: float) -> bool:
    """True if the partial ratio of the two is at least `min_score`."""
    if min_score <= 0 or (text and text in page):
        return True
    if min_score >= 1:
        return page in text and bool(page or not text)
    score: float = fuzz.partial_ratio(text, page, score_cutoff=max(0.0, 100 * min_score - _ROUNDING))
    return score / 100.0 >= min_score


def _text(test: TextTest) -> str:
    text = query(test.text)
    return text if test.case_sensitive else text.lower()


def _window(test: TextTest, page: PreparedPage) -> str:
    text = page.olmocr if test.case_sensitive else page.olmocr_lower
    if test.first_n and test.last_n:
        return text[: test.first_n] + text[-test.last_n :]
    if test.first_n:
        return text[: test.first_n]
    return text[-test.last_n :] if test.last_n else text
