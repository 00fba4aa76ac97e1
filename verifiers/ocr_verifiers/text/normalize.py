"""Named text normalisations: all differences between two texts that can be ignored."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from html import unescape
from itertools import groupby

import regex

from ocr_verifiers.text.suggestions import suggestion

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_EMPHASIS_TAG = re.compile(r"</?(?:b|i|strong|em)>", re.IGNORECASE)
# A span has no space just inside its markers, stays on one line and contains none of its own markers, so a page full
# of unclosed markers is read in linear time, and nested spans are peeled off from the inside out. The look-behind
# comes after the first marker because patterns that begin with a literal are fast.
_UNDERLINES = (re.compile(r"(_(?<!\w_)_{0,2})(?=\S)([^_\n]+)(?<=\S)\1(?!\w)"),)
_STARS = (
    re.compile(r"(\*(?<!\w\*)\*{0,2})(?=\S)([^*\n]+)(?<=\S)\1(?!\w)"),
    re.compile(r"(\*\*(?<!\w\*\*)\*?)(?=\S)([^*\n]+)(?<=\S)\1"),  # **N**ame
    re.compile(r"(\*\*\*?)(?=\S)([^*\n]+)(?<=\S)\1(?!\w)"),  # post**script**
)
_NESTING = 3
_UNUSUAL_RUN = re.compile(r"[^\x00-\u02ff]{100}")
_MARK_RUN = regex.compile(r"[\P{ccc=0}\u0f73\u0f75\u0f81]{100,}")
_DECOMPOSED = {code: unicodedata.normalize("NFD", chr(code)) for code in (0xF73, 0xF75, 0xF81)}
"""The characters that are not marks but decompose into marks."""
_LONG_REFERENCE = re.compile(r"&#[0-9]{4300,};?")

_FOLDED = {
    **dict.fromkeys("‘’‚‛", "'"),
    **dict.fromkeys("“”„‟", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    "＿": "_",
    "\u00b5": "\u03bc",  # the micro sign is the Greek letter mu
}


def nfc(text: str) -> str:
    """Unicode NFC: `e` + combining acute becomes `é`. Linear time, because long runs of marks are sorted first."""
    if len(text) - len(text.encode("ascii", "ignore")) >= 100 and _UNUSUAL_RUN.search(text):
        text = _MARK_RUN.sub(_ordered, text)
    return unicodedata.normalize("NFC", text)


def whitespace(text: str) -> str:
    """Every run of white space becomes one space; the ends are stripped."""
    return " ".join(text.split())


def quotes(text: str) -> str:
    """Typographic quotes, dashes and hyphens become ASCII, and the micro sign becomes mu."""
    if not text.isascii():
        for character, plain in _FOLDED.items():
            text = text.replace(character, plain)
    return text


def breaks(text: str) -> str:
    """`<br>`, `<br/>` and `<BR />` become a space."""
    return _BREAK.sub(" ", text) if "<" in text else text


def invisible(text: str) -> str:
    """Drops characters that print nothing: zero-width ones, soft hyphens, bidi controls, variation selectors.

    These are the characters with Unicode's property Default_Ignorable_Code_Point. They include the joiners U+200C and
    U+200D, which Persian and Kannada spelling uses: two texts that differ only in joiners are equal.
    """
    if text.isascii() or not _INVISIBLE.search("".join(_NOT_ASCII.findall(text))):
        return text
    visible: str = _INVISIBLE.sub("", text)
    return visible


def long_s(text: str) -> str:
    """The long s of old prints becomes s: `Beſtritt` is `Bestritt`. Unit tests do not do this."""
    return text.replace("ſ", "s")


def markdown(text: str) -> str:
    """Drops emphasis markers (`**b**`, `_i_`, `<b>`, `<em>`) within a line, at least three levels deep.

    Markers inside words are text: `snake_case_name`, `2*3*4` and `a*b*c` stay unchanged. Doubled asterisks
    may touch a word on one side (`**N**ame`). Headings, lists, links and tables are left alone.
    """
    if "<" in text:
        text = _EMPHASIS_TAG.sub("", text)
    patterns = (_UNDERLINES if "_" in text else ()) + (_STARS if "*" in text else ())
    for _ in range(_NESTING):
        before = text
        for pattern in patterns:
            text = pattern.sub(r"\2", text)
        if text == before:
            break
    return text


def strict(text: str) -> str:
    """What unit tests apply to the page and to their own strings: all of the above except `long_s`."""
    return whitespace(quotes(nfc(markdown(breaks(invisible(text))))))


def references(text: str) -> str:
    """Replaces HTML character references: `&amp;` becomes `&`. A number that is too long becomes U+FFFD."""
    try:
        return unescape(text)
    except ValueError:  # Python's limit for integers is 4,300 digits
        return unescape(_LONG_REFERENCE.sub("\ufffd", text))


def _ordered(run: regex.Match[str]) -> str:
    """Marks in NFC's order, by a stable sort on their combining class; `unicodedata` takes quadratic time for this."""
    marks = run[0].translate(_DECOMPOSED)
    pieces: list[str] = []
    for is_mark, group in groupby(marks, lambda character: unicodedata.combining(character) > 0):
        characters = list(group)
        pieces += sorted(characters, key=unicodedata.combining) if is_mark else characters
    return "".join(pieces)


NORMALIZATIONS: dict[str, Callable[[str], str]] = {
    "nfc": nfc,
    "whitespace": whitespace,
    "quotes": quotes,
    "breaks": breaks,
    "invisible": invisible,
    "long_s": long_s,
    "markdown": markdown,
    "strict": strict,
}


def normalize(text: str, names: Sequence[str]) -> str:
    """Applies the named normalisations in the order given; raises ValueError for an unknown name."""
    for name in names:
        if name not in NORMALIZATIONS:
            raise ValueError(f'unknown normalization "{name}"; {suggestion(name, NORMALIZATIONS)}')
        text = NORMALIZATIONS[name](text)
    return text


def graphemes(text: str) -> list[str]:
    """Extended grapheme clusters, what a reader calls characters: Kannada `ಕಿ` is one cluster of two code points."""
    clusters: list[str] = regex.findall(r"\X", text)
    return clusters
