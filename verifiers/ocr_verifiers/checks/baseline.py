"""baseline: is the page a transcription at all?"""

from __future__ import annotations

import re

from ocr_verifiers.page import PreparedPage
from ocr_verifiers.records import BaselineTest
from ocr_verifiers.repetition import judge_loops
from ocr_verifiers.verdict import PASS, Verdict, fail

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_IMAGE = re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)")
_DISALLOWED = re.compile(
    "["
    "\u4e00-\u9fff"  # Chinese characters
    "\u3040-\u30ff"  # hiragana and katakana
    "\U0001f300-\U0001f64f"  # pictographs and emoticons
    "\U0001f680-\U0001f6ff"  # transport
    "\U0001f1e6-\U0001f1ff"  # flags
    "]"
)


def baseline(test: BaselineTest, page: PreparedPage) -> Verdict:
    """Passes if the page says something, does not loop, and keeps to the characters that it may have.

    With `max_length` it must say little instead: at most so many letters and digits, and none is right.
    The names and attributes of HTML tags say nothing. No script is disallowed unless the test itself says
    `"check_disallowed_characters": true`: a page may be in any language.
    """
    said = _TAG.sub("", page.body)
    if test.max_length_skips_image_alt_tags:
        said = _IMAGE.sub("", said)
    length = sum(map(str.isalnum, said))
    if test.max_length is None and length == 0:
        return fail("no letter or digit on the page")
    if test.max_length is not None and length > test.max_length:
        return fail(f"{length} letters and digits on a page that may have {test.max_length}")
    loop = judge_loops(page.loops, test.max_repeats)
    if not loop.passed:
        return loop
    if test.check_disallowed_characters and (found := disallowed_character(page.body)):
        return fail(f"disallowed character {found} (U+{ord(found):04X})")
    return PASS


def disallowed_character(text: str) -> str:
    """The first character that an English page may not have (Chinese, kana, emoji); '' if there is none."""
    found = _DISALLOWED.search(text)
    return found[0] if found else ""
