"""Emphasis markers of markdown: which runs of `*` and `_` open and close bold and italic text, in linear time.

The rules are CommonMark's (0.31, section 6.2), with these differences:

- Text without spaces between words (Chinese, Japanese, Korean, Thai) is bold where its writer meant it. In CommonMark,
  `**注意：**请` is not, because punctuation stands inside the marker and a letter outside. Here this closes a span,
  in any script.
- A single star within a word of other scripts is a sign of multiplication: `a*b*c` and `2*3*4`. So is a doubled one
  between digits: `2**3**4`.
- Runs of four and more are text: `Name: ____`. A run of three is one doubled and one single marker.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(r"\\[*_\\]|\*+|_+|\n[ \t\r]*\n|\n")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"  # Chinese, Japanese, Korean
)

Span = tuple[int, int]


class Emphasis(NamedTuple):
    """A pair of markers that belong together."""

    width: int
    """2 is bold, 1 is italic."""
    opening: Span
    """The run that opens it; of a run of three, one or two characters belong to this pair."""
    closing: Span


def emphases(text: str, across_lines: bool = True) -> Iterator[Emphasis]:
    """The pairs in the order in which they close. A span ends with its paragraph.

    With `across_lines=False` a span of single markers ends with its line, because a star there may be a footnote's.
    """
    opened: dict[str, list[Span]] = {}
    for found in _TOKEN.finditer(text):
        run = found[0]
        if run[0] == "\n":
            if len(run) > 1:
                opened.clear()
            elif not across_lines:
                for single in "*_":
                    opened.pop(single, None)
            continue
        if run[0] == "\\" or len(run) > 3:
            continue
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        may_open, may_close = _flanking(run, before, after)
        for width in (2, 1):
            if len(run) not in (width, 3):
                continue
            stack = opened.setdefault(run[0] * width, [])
            if may_close and stack:
                yield Emphasis(width, stack.pop(), found.span())
            elif may_open:
                stack.append(found.span())


def without_emphasis(text: str) -> str:
    """The text without the markers of its emphases."""
    drop: dict[Span, int] = {}
    for width, *both in emphases(text, across_lines=False):
        for run in both:
            drop[run] = drop.get(run, 0) + width
    pieces, position = [], 0
    for (start, end), width in sorted(drop.items()):
        pieces.append(text[position:start])
        position = min(end, start + width)
    return "".join([*pieces, text[position:]])


def _flanking(run: str, before: str, after: str) -> tuple[bool, bool]:
    """Whether a run may open, and whether it may close emphasis, by the characters on both sides ('' at the ends)."""
    space_before, space_after = not before.strip(), not after.strip()
    word_before, word_after = _is_word(before), _is_word(after)
    left = not space_after and (word_after or not word_before or after not in "*_")
    right = not space_before and (word_before or not word_after or before not in "*_")
    if run[0] == "_":
        return left and not word_before, right and not word_after
    if word_before and left and not _UNSPACED.match(before):
        if len(run) == 1:
            left = False
        elif before.isdigit() and after.isdigit():
            left = right = False
    return left, right


def _is_word(character: str) -> bool:
    """True for a letter, a digit or a mark (such as a vowel sign). Others are CommonMark's punctuation."""
    return character.isalnum() or (not character.isascii() and unicodedata.category(character)[0] == "M")
