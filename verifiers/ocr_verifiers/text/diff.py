"""The differences of two texts, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import click
import regex
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.text.edit_distance import Span, Unit, alignment

_WORDS = regex.compile(r"\s|[^\s]+")
_MOST_CELLS = 10**10
"""Units of one text times units of the other that are aligned: a second or two."""
_NOT_SHOWN = regex.compile(r"[\p{C}\p{Zl}\p{Zp}]")


class Line(NamedTuple):
    """A line of the diff, as spans; it ends where both texts, or the only one that has it, end a line."""

    spans: tuple[Span, ...]

    @property
    def differs(self) -> bool:
        """True if anything on the line is not equal."""
        return any(span.op != "equal" for span in self.spans)


def text_diff(reference: str, completion: str, unit: Unit = "codepoint", words: bool = False) -> list[Span]:
    """Spans that, joined, spell both texts. Lines are aligned first, then what is in the lines that differ.

    So an equal line is never torn apart, and long texts take little time; the edits can be a few more than the least
    possible ones. With `words`, whole words and single spaces are replaced. So they are where more than 100,000
    characters in a row differ, and beyond as many words nothing is aligned.
    """
    source, target = reference.splitlines(keepends=True), completion.splitlines(keepends=True)
    spans: list[Span] = []
    for equal, codes in groupby(Levenshtein.opcodes(source, target), lambda code: code.tag == "equal"):
        first, *rest = codes
        last = rest[-1] if rest else first
        before = "".join(source[first.src_start : last.src_end])
        after = "".join(target[first.dest_start : last.dest_end])
        if equal:
            spans.append(Span("equal", before, after))
        elif not words and len(before) * len(after) <= _MOST_CELLS:
            spans += alignment(before, after, unit)
        else:
            spans += _word_alignment(before, after)
    return spans


def diff_lines(spans: Iterable[Span]) -> list[Line]:
    """The spans cut into lines, at the line ends that both texts have and inside what only one has."""
    lines: list[Line] = []
    line: list[Span] = []
    for span in spans:
        if span.op == "replace":
            line.append(span)
            if span.reference.endswith("\n") and span.completion.endswith("\n"):
                lines.append(Line(tuple(line)))
                line = []
            continue
        text = span.reference or span.completion
        for piece in text.splitlines(keepends=True):
            line.append(Span(span.op, piece if span.reference else "", piece if span.completion else ""))
            if piece.endswith("\n"):
                lines.append(Line(tuple(line)))
                line = []
    if line:
        lines.append(Line(tuple(line)))
    return lines


def shown_lines(lines: Sequence[Line], context: int, color: bool) -> Iterator[str]:
    """The lines that differ and `context` equal ones around them, for people; what is passed over is counted."""
    near = [False] * len(lines)
    for at, line in enumerate(lines):
        if line.differs:
            start, stop = max(0, at - context), at + context + 1
            near[start:stop] = [True] * (min(stop, len(lines)) - start)
    passed_over = 0
    for wanted, line in zip(near, lines, strict=True):
        if not wanted:
            passed_over += 1
            continue
        if passed_over:
            yield _counted(passed_over, color)
            passed_over = 0
        yield ("! " if line.differs else "  ") + "".join(_shown(line, color))
    if passed_over:
        yield _counted(passed_over, color)


def _word_alignment(before: str, after: str) -> list[Span]:
    source, target = _WORDS.findall(before), _WORDS.findall(after)
    if len(source) * len(target) > _MOST_CELLS:
        return [Span("replace", before, after)]
    return [
        Span(code.tag, "".join(source[code.src_start : code.src_end]), "".join(target[code.dest_start : code.dest_end]))
        for code in Levenshtein.opcodes(source, target)
    ]


def _counted(lines: int, color: bool) -> str:
    text = f"  … {lines:,} equal line{'s' * (lines > 1)}"
    return click.style(text, dim=True) if color else text


def _shown(line: Line, color: bool) -> Iterator[str]:
    """Equal text as it is; the reference's in red or [-so-], then the completion's in green or {+so+}."""
    for equal, spans in groupby(line.spans, lambda span: span.op == "equal"):
        pieces = list(spans)
        lost = "".join(span.reference for span in pieces)
        new = "".join(span.completion for span in pieces)
        if equal:
            yield visible(lost.rstrip("\r\n"))
            continue
        lost, new = _marked(lost), _marked(new)
        if color:
            yield click.style(lost, fg="red", reverse=not lost.strip() or None, strikethrough=True) if lost else ""
            yield click.style(new, fg="green", reverse=not new.strip() or None, underline=True) if new else ""
        else:
            yield (f"[-{lost}-]" if lost else "") + (f"{{+{new}+}}" if new else "")


def _marked(text: str) -> str:
    """Line ends that one text has and the other has not are seen."""
    return visible(text.replace("\r\n", "\n").replace("\n", "⏎").replace("\t", "→"))


def visible(text: str) -> str:
    """Text for a terminal: what it would obey (controls), cannot write or does not show (zero widths) is named."""
    shown: str = _NOT_SHOWN.sub(lambda c: c[0] if c[0] == "\t" else f"<U+{ord(c[0]):04X}>", text)
    return shown
