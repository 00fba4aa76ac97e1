"""Emphasis markers of markdown: which runs of `*` and `_` open and close bold and italic text, in linear time.

The rules are CommonMark's (0.31, section 6.2), with these differences:

- Text without spaces between words (Chinese, Japanese, Korean, Thai) is bold where its writer meant it. In CommonMark,
  `**注意：**请` and `是**“好”**` are not, because punctuation stands inside the marker and a letter outside. Here a
  marker closes after any punctuation but an opening bracket, and opens before any but a closing one or a full stop.
- A single star next to a digit, or between two letters that stand alone, is a sign of multiplication: `2*x*4`, `a*b*c`.
  So is a doubled one between digits: `2**3**4`.
- `**one****two**` is bold, twice.
- More than three underscores and more than nine stars are text: `Name: ____`.
- Code, links and attributes do not come first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_TOKEN = re.compile(r"\\[*_\\]|\*+|_+|\n[ \t\r]*\n|\n")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"  # Chinese, Japanese, Korean
)
_LONGEST = {"*": 9, "_": 3}
_ENDS = frozenset(".,;:!?%…、。，；：！？％*_")
"""Punctuation that no emphasis begins with inside a word, besides closing brackets and quotes."""

Span = tuple[int, int]


class Emphasis(NamedTuple):
    """A pair of markers that belong together."""

    width: int
    """2 is bold, 1 is italic."""
    opening: Span
    """The characters that open it: of a longer run those next to the text."""
    closing: Span


@dataclass
class _Opener:
    """A run of markers that may open, less what has been closed already."""

    sign: str
    length: int
    """Of the whole run."""
    closes: bool
    """Whether it might also have closed."""
    start: int
    end: int


def emphases(text: str, across_lines: bool = True) -> Iterator[Emphasis]:
    """The pairs in the order in which they close. A span ends with its paragraph.

    With `across_lines=False` a span of single markers ends with its line, because a star there may be a footnote's.
    """
    opened: list[_Opener] = []
    hopeless: dict[tuple[str, int, bool], int] = {}
    """By sign, length and whether it is left-flanking, how many of the first openers a closing run cannot close."""
    for found in _TOKEN.finditer(text):
        run, (start, end) = found[0], found.span()
        if run[0] == "\n":
            if len(run) > 1:
                opened.clear()
            elif not across_lines:
                opened = [opener for opener in opened if opener.length > 1]
            hopeless.clear()
            continue
        if run[0] == "\\" or len(run) > _LONGEST[run[0]]:
            continue
        left, may_close = _flanking(text, start, end)
        may_open = left and not (may_close and end - start == 1 and run == "*" and _is_product(text, start))
        while may_close and start < end:
            kind = run[0], len(run), left
            untried = range(len(opened) - 1, hopeless.get(kind, 0) - 1, -1)
            at = next((i for i in untried if _match(opened[i], *kind)), None)
            if at is None:
                hopeless[kind] = len(opened)
                break
            del opened[at + 1 :]
            opener = opened[at]
            width = 2 if min(opener.end - opener.start, end - start) >= 2 else 1
            yield Emphasis(width, (opener.end - width, opener.end), (start, start + width))
            start += width
            opener.end -= width
            if opener.start == opener.end:
                del opened[at]
            for other, count in hopeless.items():
                hopeless[other] = min(count, len(opened))
        if may_open and start < end:
            opened.append(_Opener(run[0], len(run), may_close, start, end))


def without_emphasis(text: str) -> str:
    """The text without the markers of its emphases."""
    pieces, position = [], 0
    for start, end in sorted(span for _, *both in emphases(text, across_lines=False) for span in both):
        pieces.append(text[position:start])
        position = end
    return "".join([*pieces, text[position:]])


def _match(opener: _Opener, sign: str, length: int, left: bool) -> bool:
    """CommonMark's rule of three: a run that may open and close is no partner if the lengths add up to 3, 6, ..."""
    if opener.sign != sign:
        return False
    if not (opener.closes or left) or (opener.length + length) % 3:
        return True
    return opener.length % 3 == 0 or opener.length % 2 == length % 2 == 0


def _flanking(text: str, start: int, end: int) -> tuple[bool, bool]:
    """Whether a run may open, and whether it may close emphasis, by the characters on both sides."""
    before, after = text[start - 1 : start], text[end : end + 1]
    space_before, space_after = not before.strip(), not after.strip()
    word_before, word_after = _is_word(before), _is_word(after)
    left = not space_after and (word_after or not word_before or _begins(after))
    right = not space_before and (word_before or not word_after or _ends(before))
    if text[start] == "_":
        return left and not word_before, right and not word_after
    if end - start > 1 and before.isdigit() and after.isdigit():
        return False, False
    return left, right


def _is_product(text: str, star: int) -> bool:
    """Whether a star inside a word is a sign of multiplication: next to a digit, or between lone letters."""
    before, after = text[star - 1], text[star + 1]
    if not _is_word(before) or _UNSPACED.match(before):
        return False
    if not (before.isalpha() and after.isalpha()):
        return True
    alone = not _is_word(text[star - 2 : star - 1]) or star < 2
    return alone and not _is_word(text[star + 2 : star + 3])


def _begins(character: str) -> bool:
    """Whether a punctuation mark or sign may begin an emphasis inside a word."""
    return character not in _ENDS and unicodedata.category(character) not in ("Pe", "Pf")


def _ends(character: str) -> bool:
    """Whether one may end it there."""
    return character not in "*_" and unicodedata.category(character) not in ("Ps", "Pi")


def _is_word(character: str) -> bool:
    """True for a letter, a digit or a mark (such as a vowel sign). Others are CommonMark's punctuation."""
    return character.isalnum() or (not character.isascii() and unicodedata.category(character)[0] == "M")
