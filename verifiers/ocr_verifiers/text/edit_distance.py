"""Edit counts between a reference and a completion. CER, WER and similarity are views of the same counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from rapidfuzz.distance import Levenshtein

from ocr_verifiers.text.normalize import graphemes
from ocr_verifiers.text.suggestions import suggestion

Unit = Literal["codepoint", "grapheme"]
UNITS: tuple[str, ...] = get_args(Unit)


@dataclass(frozen=True)
class EditCounts:
    """Counts of a least-edit alignment; add them to pool pages into a corpus."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    """Units of the reference that the completion lacks."""
    insertions: int = 0
    """Units of the completion that the reference lacks."""

    @property
    def distance(self) -> int:
        """Levenshtein distance, S + D + I."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """H + S + D."""
        return self.hits + self.substitutions + self.deletions

    @property
    def completion_length(self) -> int:
        """H + S + I."""
        return self.hits + self.substitutions + self.insertions

    @property
    def error_rate(self) -> float:
        """(S + D + I) / (H + S + D): CER of characters, WER of words. It can exceed 1.

        An empty reference scores 0 only against an empty completion; otherwise its insertions are the rate.
        """
        return self.distance / max(1, self.reference_length)

    @property
    def similarity(self) -> float:
        """1 - distance / max(reference_length, completion_length), in [0, 1]; two empty texts are 1."""
        longest = max(self.reference_length, self.completion_length)
        return (longest - self.distance) / longest if longest else 1.0

    def __add__(self, other: EditCounts) -> EditCounts:
        return EditCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


class Span(NamedTuple):
    """One stretch of an alignment: what the reference says there, and what the completion says."""

    op: str
    """equal, replace, delete or insert."""
    reference: str
    completion: str


def char_edits(reference: str, completion: str, unit: Unit = "codepoint") -> EditCounts:
    """Character edits, in code points or grapheme clusters. Nothing is normalised here."""
    return _edits(_units(reference, unit), _units(completion, unit))


def word_edits(reference: str, completion: str) -> EditCounts:
    """Edits between words: what white space separates."""
    return _edits(reference.split(), completion.split())


def pool(counts: Iterable[EditCounts]) -> EditCounts:
    """The sum of the counts. Its rates are corpus rates: edits over lengths, not a mean of pages."""
    return sum(counts, EditCounts())


def alignment(reference: str, completion: str, unit: Unit = "codepoint") -> list[Span]:
    """The least-edit alignment as spans that, joined, spell both texts; for coloured diffs."""
    source, target = _units(reference, unit), _units(completion, unit)
    return [
        Span(
            code.tag,
            "".join(source[code.src_start : code.src_end]),
            "".join(target[code.dest_start : code.dest_end]),
        )
        for code in Levenshtein.opcodes(source, target)
    ]


def check_unit(unit: str) -> None:
    """A ValueError unless `unit` is one of UNITS."""
    if unit not in UNITS:
        raise ValueError(f'unknown unit "{unit}"; {suggestion(unit, UNITS)}')


def _units(text: str, unit: Unit) -> Sequence[str]:
    check_unit(unit)
    return graphemes(text) if unit == "grapheme" else text


def _edits(reference: Sequence[str], completion: Sequence[str]) -> EditCounts:
    ops = Counter(op.tag for op in Levenshtein.editops(reference, completion))
    substitutions, deletions, insertions = ops["replace"], ops["delete"], ops["insert"]
    return EditCounts(len(reference) - substitutions - deletions, substitutions, deletions, insertions)
