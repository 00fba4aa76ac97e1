"""format: a text is part of a heading, of something bold, or of something in italics."""

from __future__ import annotations

from ocr_verifiers.text.olmocr import query
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.olmocr.text import similar, threshold
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import FormatTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def formatting(test: FormatTest, page: PreparedPage) -> Verdict:
    """Passes if some span of that format is similar to the text, as in `present`.

    Quirks, kept: a span that is a part of the text will do (the heading "A" for any text with an A); `<body>` opens
    bold and `<img>` italics; a heading's text may follow on the next line; bold and italics may run over many.
    """
    text = query(test.text)
    spans = page.olmocr_spans[test.format]
    if not test.case_sensitive:
        text, spans = text.lower(), tuple(span.lower() for span in spans)
    least = threshold(text, test.max_diffs)
    if any(similar(text, span, least) for span in spans):
        return PASS
    return fail(f"{shown(text)} is in none of {len(spans)} spans of format {test.format}")
