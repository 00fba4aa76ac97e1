"""baseline: a letter or digit on the page, no short loop at its end, no Chinese, Japanese or emoji."""

from __future__ import annotations

import re

from ocr_verifiers.text.olmocr import single_spaces
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.checks.baseline import without_images
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import BaselineTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

_LONGEST_PHRASE = 5
_DISALLOWED = re.compile(
    "["
    "\u4e00-\u9fff"  # Chinese characters
    "\u3040-\u30ff"  # hiragana and katakana
    "\U0001f300-\U0001f64f"  # pictographs and emoticons
    "\U0001f680-\U0001f6ff"  # transport
    "\U0001f1e0-\U0001f1ff"  # flags
    "]"
)


def baseline(test: BaselineTest, page: PreparedPage) -> Verdict:
    """Passes a page with a letter or digit, unless it ends in a loop or has a disallowed character.

    Quirks, kept: with `max_length`, only the number of letters and digits is checked, including those of HTML tags and
    front matter; a loop is the same 1 to 5 characters more than `max_repeats` times in a row at the very end of the
    page, even a rule of dashes. Characters are checked unless the test says otherwise.
    """
    counted = page.text
    if test.max_length is not None and test.max_length_skips_image_alt_tags:
        counted = without_images(counted)
    length = sum(map(str.isalnum, counted))
    if test.max_length is not None:
        if length > test.max_length:
            return fail(f"{length} letters and digits on a page that may have {test.max_length}")
        return PASS
    if length == 0:
        return fail("no letter or digit on the page")
    text = single_spaces(page.text)
    for size in range(1, min(_LONGEST_PHRASE, len(text)) + 1):
        if _repeated_at_the_end(text, size, test.max_repeats):
            return fail(f"the page ends in {quoted(text[-size:])} more than {test.max_repeats} times in a row")
    if test.check_disallowed_characters is not False and (found := _DISALLOWED.search(page.text)):
        return fail(f"disallowed character {found[0]} (U+{ord(found[0]):04X})")
    return PASS


def _repeated_at_the_end(text: str, size: int, times: int) -> bool:
    """True if the text ends in its last `size` characters more than `times` times in a row."""
    return len(text) // size > times and text.endswith(text[-size:] * (times + 1))
