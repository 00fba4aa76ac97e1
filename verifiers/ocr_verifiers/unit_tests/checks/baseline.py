"""baseline: does the page look like a transcription at all?"""

from __future__ import annotations

import re

from ocr_verifiers.unit_tests.loops import judge_loops
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import BaselineTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
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
    """Passes if the page has a letter or digit, does not loop, and has no disallowed characters.

    With `max_length` the page must have at most that many letters and digits instead, and none is correct. The names
    and attributes of HTML tags do not count. No script is disallowed unless the test itself says
    `"check_disallowed_characters": true`: a page may be in any language.
    """
    text = _TAG.sub("", page.body)
    if test.max_length_skips_image_alt_tags:
        text = without_images(text)
    length = sum(map(str.isalnum, text))
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


def without_images(text: str) -> str:
    """The text without markdown images, the matches of `!\\[.*?\\]\\(.*?\\)`, in linear time."""
    return "\n".join(map(_line_without_images, text.split("\n"))) if "![" in text else text


def _line_without_images(line: str) -> str:
    kept: list[str] = []
    position = 0
    while True:
        start = line.find("![", position)
        middle = line.find("](", start + 2)
        stop = line.find(")", middle + 2)
        if start < 0 or middle < 0 or stop < 0:
            return "".join(kept) + line[position:]
        kept.append(line[position:start])
        position = stop + 1


def disallowed_character(text: str) -> str:
    """The first Chinese, kana or emoji character, which an English page may not have; '' if there is none."""
    found = _DISALLOWED.search(text)
    return found[0] if found else ""
