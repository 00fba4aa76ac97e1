"""The footnote markers of a page, and the letters around them.

A marker is `[^1]`, <sup>1</sup>, ¹, `^1^` (pandoc), $^{1}$, $^1$, \\(^{1}\\) or \\textsuperscript{1}; <sup>1, 2</sup>
is two markers. So are †, ‡, §, ¶ and stars (also `\\*`) directly after a word or its punctuation, unless the stars are
emphasis. `[^1]:` at the start of a line is the note itself, and $x^{1}$ is an exponent.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import regex

from ocr_verifiers.text.emphasis import emphases
from ocr_verifiers.text.normalize import invisible, nfc, quotes

# Unicode decomposes superscript characters (¹ ᵃ ⁺) into <super> and the plain character. ™ and ℠ decompose in the same
# way, but do not mark footnotes; they are outside these ranges.
_SUPERSCRIPTS = {
    chr(code): unicodedata.normalize("NFKC", chr(code))
    for code in (*range(0xAA, 0xBB), *range(0x2B0, 0x2C0), *range(0x1D2C, 0x1DC0), *range(0x2070, 0x2080))
    if unicodedata.decomposition(chr(code)).startswith("<super>")
}
_TO_PLAIN = str.maketrans(_SUPERSCRIPTS)
_MARKER = re.compile(
    r"(?P<note>^[ \t]{0,3}\[\^[^\[\]\s]{1,64}\]:)"
    r"|\[\^(?P<reference>[^\[\]\s]{1,64})\]"
    r"|<sup(?:\s[^<>]*)?>(?P<sup>[^<>]{0,64}(?:<(?!/?sup\b)[^<>]{0,200}>[^<>]{0,64}){0,4})</sup\s*>"
    rf"|(?P<unicode>[{''.join(_SUPERSCRIPTS)}]{{1,64}})"
    r"|(?:\$|\\\()[ \t]{0,4}(?:\{\})?\^[ \t]{0,4}"
    r"(?:\{(?P<latex>(?:[^{}$\n]|\{[^{}$\n]{0,32}\}){1,32})\}|(?P<short>[^\s{}$\\]))[ \t]{0,4}(?:\$|\\\))"
    r"|\\textsuperscript\{(?P<text>[^{}$\n]{1,32})\}"
    r"|(?<!\^)\^(?P<caret>[0-9]{1,3}|[A-Za-z*†‡§])\^(?![\w^])"
    r"|(?<=[^\s*\\|>(])(?P<sign>[†‡§¶]{1,3}|(?:\\\*){1,3}|\*{1,3}(?![\w*^(]))",
    re.IGNORECASE | re.MULTILINE,
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_NOT_LETTERS = regex.compile(r"[\W_]+")  # the \w of `regex` includes the vowel signs of Kannada; that of `re` does not
_LATEX_NAMES = {"dagger": "†", "dag": "†", "ddagger": "‡", "ddag": "‡", "ast": "*", "star": "*", "s": "§", "p": "¶"}
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_SEPARATORS = re.compile(r"[,;\s]+")
_LIKE_A_NOTE = re.compile(r"[0-9]{1,3}|[^\W\d_]|\W+")


class Markers(NamedTuple):
    """The markers of a page and where they are."""

    letters: str
    """The page's letters and digits, in lower case, without tags, spaces and the markers themselves."""
    places: dict[str, list[int]]
    """For each marker, the numbers of letters before its occurrences; ascending, without duplicates."""


def find_markers(page: str) -> Markers:
    """All footnote markers of a page, in linear time."""
    page = invisible(page)
    pieces: list[str] = []
    places: dict[str, list[int]] = {}
    done = length = 0
    emphasis = {at for _, *both in emphases(page) for span in both for at in range(*span)} if "*" in page else set()
    for found in _MARKER.finditer(page):
        kind = found.lastgroup or ""
        if kind == "sign" and found.start() in emphasis and found.end() - 1 in emphasis:
            continue
        written = found[kind]
        if kind == "sign" and found.start() in emphasis:  # of `**Total***` the last star
            written = "".join(c for at, c in enumerate(written, found.start()) if at not in emphasis)
        names = _names(written) if kind != "note" else []
        pieces.append(_letters(page[done : found.start()]))
        length += len(pieces[-1])
        for name in names:
            known = places.setdefault(name, [])
            if not known or known[-1] != length:
                known.append(length)
        done = found.end()
        if not all(map(_LIKE_A_NOTE.fullmatch, names)) and kind != "reference":
            # 19<sup>th</sup> is also a word of the page.
            pieces.append(_letters(found[kind]))
            length += len(pieces[-1])
    pieces.append(_letters(page[done:]))
    return Markers("".join(pieces), places)


def letters_of(text: str) -> str:
    """The letters and digits of a test's text, extracted as from a page."""
    return find_markers(text).letters


def plain_marker(text: str) -> str:
    """A marker as a key of `Markers.places`: ¹² is 12."""
    return nfc(invisible(text)).translate(_TO_PLAIN).strip()


def _names(content: str) -> list[str]:
    """The markers in one superscript, without any brackets around them."""
    if content[0] in "*\\" and not content.strip("*\\"):
        return [content.replace("\\", "")]
    plain = _COMMAND.sub(lambda command: _LATEX_NAMES.get(command[1].lower(), ""), _TAG.sub("", content))
    plain = plain_marker(plain.replace("{", "").replace("}", ""))
    names = (name.strip("[]().") or name for name in _SEPARATORS.split(plain))
    return [name for name in names if name]


def _letters(text: str) -> str:
    letters: str = _NOT_LETTERS.sub("", quotes(nfc(_TAG.sub("", text).lower())))
    return letters
