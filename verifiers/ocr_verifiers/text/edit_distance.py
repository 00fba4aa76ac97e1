"""Edit counts between a reference and a completion. CER, WER and similarity are computed from the same counts."""

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
    """Counts of an alignment with the fewest edits. Add them up to pool pages into a corpus."""

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

        With an empty reference it is the number of insertions, so 0 only for an empty completion.
        """
        return self.distance / max(1, self.reference_length)

    @property
    def similarity(self) -> float:
        """1 - distance / max(reference_length, completion_length), in [0, 1]; 1 for two empty texts."""
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
    """One stretch of an alignment: the text of the reference there, and that of the completion."""

    op: str
    """equal, replace, delete or insert."""
    reference: str
    completion: str


def char_edits(reference: str, completion: str, unit: Unit = "codepoint") -> EditCounts:
    """Character edits, in code points or grapheme clusters. The texts are not normalised here."""
    return _edits(units(reference, unit), units(completion, unit))


def word_edits(reference: str, completion: str) -> EditCounts:
    """Word edits. Words are separated by white space."""
    return _edits(reference.split(), completion.split())


def pool(counts: Iterable[EditCounts]) -> EditCounts:
    """The sum of the counts. Its rates are corpus rates: total edits over total length, not a mean over pages."""
    return sum(counts, EditCounts())


def alignment(reference: str, completion: str, unit: Unit = "codepoint") -> list[Span]:
    """The alignment with the fewest edits, as spans that spell both texts when joined; for coloured diffs."""
    source, target = units(reference, unit), units(completion, unit)
    return [
        Span(
            code.tag,
            "".join(source[code.src_start : code.src_end]),
            "".join(target[code.dest_start : code.dest_end]),
        )
        for code in Levenshtein.opcodes(source, target)
    ]


def similarity_of(reference: Sequence[str], completion: Sequence[str], unread: int = 0) -> float:
    """1 - edits / length of the longer one, in [0, 1], for two sequences of units; 1 for two empty ones.

    `unread` units follow the completion that match nothing.
    """
    longest = max(len(reference), len(completion) + unread)
    return max(0.0, 1 - (Levenshtein.distance(reference, completion) + unread) / longest) if longest else 1.0


def check_unit(unit: str) -> None:
    """Raises ValueError unless `unit` is one of UNITS."""
    if unit not in UNITS:
        raise ValueError(f'unknown unit "{unit}"; {suggestion(unit, UNITS)}')


def units(text: str, unit: Unit) -> Sequence[str]:
    """The code points or grapheme clusters of a text."""
    check_unit(unit)
    return graphemes(text) if unit == "grapheme" else text


def _edits(reference: Sequence[str], completion: Sequence[str]) -> EditCounts:
    ops = Counter(op.tag for op in Levenshtein.editops(reference, completion))
    substitutions, deletions, insertions = ops["replace"], ops["delete"], ops["insert"]
    return EditCounts(len(reference) - substitutions - deletions, substitutions, deletions, insertions)
