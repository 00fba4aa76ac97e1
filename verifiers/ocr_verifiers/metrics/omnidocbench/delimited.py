"""What stands between delimiters, in linear time.

The benchmark's patterns are of the form `begin.*?end`. Where no `end` follows, `re` looks through the rest of the text
from every `begin`; here those after the last `end` are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

FORMULAS = {"$$": "$$", r"\[": r"\]", "$": "$", r"\(": r"\)"}
DOLLARS = {"$$": "$$", "$": "$", r"\(": r"\)"}
INLINE = {"$": "$", r"\(": r"\)"}


class Brackets(NamedTuple):
    """Brackets with a backslash, and what stands in them."""

    begin: str
    end: re.Pattern[str]
    whole: re.Pattern[str]


BRACKETS, PARENTHESES = (
    Brackets(f"\\{begin}", re.compile(rf"(?<!\\)\\\{end}"), re.compile(rf"\\\{begin}(.+?)(?<!\\)\\\{end}"))
    for begin, end in ("[]", "()")
)


class Delimited(NamedTuple):
    """Delimiters, what stands between them, and where the first one begins."""

    begin: str
    inner: str
    end: str
    start: int

    @property
    def text(self) -> str:
        return self.begin + self.inner + self.end

    @property
    def stop(self) -> int:
        return self.start + len(self.begin) + len(self.inner) + len(self.end)


@cache
def _begins(begins: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, begins)))


def delimited(text: str, pairs: Mapping[str, str]) -> Iterator[Delimited]:
    """What `begin(.*?)end` of one pair or another finds from left to right, where `.` is any character.

    Of pairs that begin at one place it is the first that ends.
    """
    begins = _begins(tuple(pairs))
    found = begins.search(text)
    last = {end: text.rfind(end) for end in pairs.values()} if found else {}
    while found:
        start = found.start()
        position = start + 1
        for begin, end in pairs.items():
            first = start + len(begin)
            if first <= last[end] and text.startswith(begin, start):
                stop = text.find(end, first)
                position = stop + len(end)
                yield Delimited(begin, text[first:stop], end, start)
                break
        found = begins.search(text, position)


def with_delimited(text: str, pairs: Mapping[str, str], written: Callable[[Delimited], str]) -> str:
    """The text with each of these replaced."""
    pieces, position = [], 0
    for found in delimited(text, pairs):
        pieces += [text[position : found.start], written(found)]
        position = found.stop
    return "".join(pieces) + text[position:] if pieces else text


def with_inline(text: str, written: Callable[[Delimited], str]) -> str:
    """The text with each inline formula replaced, which stands on one line."""
    if "$" not in text and r"\(" not in text:
        return text
    return "\n".join(with_delimited(line, INLINE, written) for line in text.split("\n"))


def replaced(pattern: re.Pattern[str], end: str, written: str | Callable[[re.Match[str]], str], text: str) -> str:
    """`pattern.sub`, for a pattern that finds what extends to the next `end`."""
    last = text.rfind(end) + len(end)
    return pattern.sub(written, text[:last]) + text[last:] if last >= len(end) else text


def replaced_on_lines(
    pattern: re.Pattern[str], end: str, written: str | Callable[[re.Match[str]], str], text: str
) -> str:
    """`pattern.sub`, for a pattern that finds what extends to the next `end` on its line."""
    if end not in text:
        return text
    return "\n".join(replaced(pattern, end, written, line) for line in text.split("\n"))


def first_on_a_line(text: str, *kinds: Brackets) -> str | None:
    r"""What stands first in brackets of these kinds, on one line; at least one character. `\\]` is no end."""
    for line in text.split("\n"):
        found = []
        for kind in kinds:
            if kind.begin in line and (ends := [end.end() for end in kind.end.finditer(line)]):
                found += [inner for inner in [kind.whole.search(line, 0, ends[-1])] if inner]
        if found:
            return min(found, key=lambda inner: inner.start())[1]
    return None
