"""Hallucination: text that a transcription has where its page has none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

MIN_RUN = 5
"""Words that are added in a row before they count as invented. Fewer are a word read twice, or one cut in two."""

_DAMAGE = re.compile(r"\[(?:illegible|unreadable|damaged|torn|gap|lacuna|blank|\?+|…|\.{3,})\]", re.IGNORECASE)
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


@dataclass(frozen=True)
class Hallucination:
    """Characters of a transcription, white space not counted. Add them up to pool pages."""

    invented: int = 0
    written: int = 0
    pages: int = 0
    """Pages."""
    inventing: int = 0
    """Pages with an invented character."""

    @property
    def rate(self) -> float:
        """Invented / written; 0 if nothing is written."""
        return self.invented / max(1, self.written)

    def __add__(self, other: Hallucination) -> Hallucination:
        return Hallucination(
            self.invented + other.invented,
            self.written + other.written,
            self.pages + other.pages,
            self.inventing + other.inventing,
        )


def hallucination(reference: str, completion: str) -> Hallucination:
    """What a transcription invents: everything on a page without text, else runs of five added words and more.

    Words are aligned with the fewest edits; a Chinese or Japanese character is a word. Marks of damage, such as
    `[illegible]` and `[...]`, stand for no text, so that what is written in their place is added.
    """
    expected, written = _words(reference), _words(completion)
    runs = (
        written[edit.dest_start : edit.dest_end]
        for edit in Levenshtein.opcodes(expected, written)
        if edit.tag == "insert" and (not expected or edit.dest_end - edit.dest_start >= MIN_RUN)
    )
    invented = sum(len(word) for run in runs for word in run)
    return Hallucination(invented, sum(map(len, written)), 1, int(invented > 0))


def _words(text: str) -> list[str]:
    found: list[str] = _WORD.findall(_DAMAGE.sub(" ", text))
    return found
