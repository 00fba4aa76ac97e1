"""format: a text is part of a heading or of a bold or italic span."""

from __future__ import annotations

from ocr_verifiers.text.olmocr import query
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.olmocr.text import similar, threshold
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import FormatTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def formatting(test: FormatTest, page: PreparedPage) -> Verdict:
    """Passes if some span of that format is similar to the text, as in `present`.

    Quirks, kept: a span that is part of the text is enough (the heading "A" for any text with an A); `<body>` opens
    bold and `<img>` italics; a heading's text may be on the next line; bold and italics may span many lines.
    """
    text = query(test.text)
    spans = page.olmocr_spans[test.format]
    if not test.case_sensitive:
        text, spans = text.lower(), tuple(span.lower() for span in spans)
    min_score = threshold(text, test.max_diffs)
    if any(similar(text, span, min_score) for span in spans):
        return PASS
    return fail(f"{quoted(text)} is in none of {len(spans)} spans of format {test.format}")
