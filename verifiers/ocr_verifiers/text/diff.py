"""The differences between two texts, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import click
import regex
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.text.edit_distance import Span, Unit, alignment

_WORDS = regex.compile(r"\s|[^\s]+")
_MAX_CELLS = 10**10
"""Limit on units of one text times units of the other: aligning them takes a second or two."""
_NOT_PRINTED = regex.compile(r"[\p{C}\p{Zl}\p{Zp}]")


class Line(NamedTuple):
    """A line of the diff, as spans. It ends where both texts end a line, or where the only text that has it does."""

    spans: tuple[Span, ...]

    @property
    def differs(self) -> bool:
        """True if anything on the line is not equal."""
        return any(span.op != "equal" for span in self.spans)


def text_diff(reference: str, completion: str, unit: Unit = "codepoint", words: bool = False) -> list[Span]:
    """Spans that spell both texts when joined. Lines are aligned first, then the contents of lines that differ.

    Equal lines therefore stay whole and long texts take little time, but there can be a few more edits than the
    minimum. With `words`, whole words and single spaces are replaced instead of characters. This also happens where
    more than 100,000 characters in a row differ; where more than 100,000 words in a row differ, nothing is aligned.
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
        elif not words and len(before) * len(after) <= _MAX_CELLS:
            spans += alignment(before, after, unit)
        else:
            spans += _word_alignment(before, after)
    return spans


def diff_lines(spans: Iterable[Span]) -> list[Line]:
    """The spans split into lines: at line ends that both texts have, and at line ends inside text that only one has."""
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
    """The lines that differ with `context` equal lines around them, for people; skipped lines are counted."""
    near = [False] * len(lines)
    for at, line in enumerate(lines):
        if line.differs:
            start, stop = max(0, at - context), at + context + 1
            near[start:stop] = [True] * (min(stop, len(lines)) - start)
    skipped = 0
    for is_near, line in zip(near, lines, strict=True):
        if not is_near:
            skipped += 1
            continue
        if skipped:
            yield _skipped(skipped, color)
            skipped = 0
        yield ("! " if line.differs else "  ") + "".join(_shown(line, color))
    if skipped:
        yield _skipped(skipped, color)


def _word_alignment(before: str, after: str) -> list[Span]:
    source, target = _WORDS.findall(before), _WORDS.findall(after)
    if len(source) * len(target) > _MAX_CELLS:
        return [Span("replace", before, after)]
    return [
        Span(code.tag, "".join(source[code.src_start : code.src_end]), "".join(target[code.dest_start : code.dest_end]))
        for code in Levenshtein.opcodes(source, target)
    ]


def _skipped(lines: int, color: bool) -> str:
    text = f"  … {lines:,} equal line{'s' * (lines > 1)}"
    return click.style(text, dim=True) if color else text


def _shown(line: Line, color: bool) -> Iterator[str]:
    """Equal text unchanged; then the reference's in red or [-so-], then the completion's in green or {+so+}."""
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
    """Text that only one side has, with its line ends and tabs made visible."""
    return visible(text.replace("\r\n", "\n").replace("\n", "⏎").replace("\t", "→"))


def visible(text: str) -> str:
    """Text that is safe for a terminal: control, unencodable and zero-width characters are replaced by their names."""
    printable: str = _NOT_PRINTED.sub(lambda c: c[0] if c[0] == "\t" else f"<U+{ord(c[0]):04X}>", text)
    return printable
