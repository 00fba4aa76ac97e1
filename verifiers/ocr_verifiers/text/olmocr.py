"""olmOCR-bench's normalisation, including its quirks."""

from __future__ import annotations

import re
from functools import lru_cache

from ocr_verifiers.text.normalize import nfc

# A span is the shortest match on its line, wherever its markers are. Doubled markers are removed twice: `****x****`.
_STARS = re.compile(r"\*\*(.*?)\*\*")
_UNDERLINES = re.compile(r"__(.*?)__")
_DOUBLED = re.compile(r"(\*\*|__)(.*?)\1")
_SINGLE = re.compile(r"([*_])(.*?)\1")
_BOLD_TAG = re.compile(r"</?b>")
_ITALIC_TAG = re.compile(r"</?i>")
_FOLDED = {
    **dict.fromkeys("‘’‚", "'"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("–—‑‒−", "-"),
    "＿": "_",
    "\u00b5": "\u03bc",  # the micro sign is the Greek letter mu
}


def normalize(text: str) -> str:
    """Applied to pages and to the strings of tests, in this order:

    `<br>` and `<br/>` (exactly these spellings) become a space; emphasis markers within a line are dropped, also
    inside words (`snake_case_name` becomes `snakecasename`, `2*3*4` becomes `234`), and so are the tags `<b>` and
    `<i>`; every run of white space becomes a space, also at the ends; NFC; quotes and dashes become ASCII.
    """
    text = text.replace("<br>", " ").replace("<br/>", " ")
    if "*" in text or "_" in text:
        text = _UNDERLINES.sub(r"\1", _STARS.sub(r"\1", text))
    if "<" in text:
        text = _ITALIC_TAG.sub("", _BOLD_TAG.sub("", text))
    if "*" in text or "_" in text:
        text = _SINGLE.sub(r"\2", _DOUBLED.sub(r"\2", text))
    text = single_spaces(text)
    if text.isascii():
        return text
    text = nfc(text)
    for character, plain in _FOLDED.items():
        text = text.replace(character, plain)
    return text


@lru_cache(maxsize=1 << 16)
def query(text: str) -> str:
    """A test's string, normalised once: it is needed for every completion of its page."""
    return normalize(text)


def single_spaces(text: str) -> str:
    """Every run of white space becomes one space, also at the ends."""
    words = " ".join(text.split())
    if not words:
        return " " if text else ""
    return f"{' ' * text[0].isspace()}{words}{' ' * text[-1].isspace()}"
