"""What transcriptions get wrong: which characters are read as which, by class of character, and which words.

Counts follow an alignment with the fewest edits, so the totals are those of CER and WER; which of several such
alignments is taken may differ from other programs, the totals cannot.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.hallucination import Hallucination, hallucination
from ocr_verifiers.text.edit_distance import EditCounts, Unit, units

CONTEXT = 12
"""Characters of the reference on both sides of an example."""
CLASSES = {
    "L": "letters",
    "M": "marks",
    "N": "digits",
    "P": "punctuation",
    "S": "signs",
    "Z": "spaces",
    "C": "other",
}
"""By the first letter of Unicode's general category."""


class Confusion(NamedTuple):
    """A unit of the reference and what was written for it; an empty one was inserted or left out."""

    reference: str
    completion: str


@dataclass
class ClassCount:
    """A class of characters."""

    occurrences: int = 0
    """In the references."""
    errors: int = 0
    """Characters of it that are wrong or missing, and added ones."""


@dataclass
class ErrorTable:
    """The errors of any number of pages; `add` them one by one."""

    unit: Unit = "codepoint"
    """What a character is."""
    characters: Counter[Confusion] = field(default_factory=Counter)
    words: Counter[Confusion] = field(default_factory=Counter)
    classes: dict[str, ClassCount] = field(default_factory=dict)
    examples: dict[Confusion, tuple[str, str]] = field(default_factory=dict)
    """For each confusion of characters the page of the first one and its surroundings in the reference."""
    character_edits: EditCounts = field(default_factory=EditCounts)
    word_edits: EditCounts = field(default_factory=EditCounts)
    invented: Hallucination = field(default_factory=Hallucination)

    def add(self, page: str, reference: str, completion: str) -> None:
        """Adds a page; the texts are normalised already."""
        source, target = units(reference, self.unit), units(completion, self.unit)
        for character in source:
            self._class_of(character).occurrences += 1
        for at, confusion in _confusions(source, target):
            self.characters[confusion] += 1
            self._class_of(confusion.reference or confusion.completion).errors += 1
            around = "".join(source[max(0, at - CONTEXT) : at + 1 + CONTEXT])
            self.examples.setdefault(confusion, (page, around))
        self.character_edits += _edits(source, target)
        before, after = reference.split(), completion.split()
        self.words.update(confusion for _, confusion in _confusions(before, after))
        self.word_edits += _edits(before, after)
        self.invented += hallucination(reference, completion)

    def frequent(self, counts: Counter[Confusion], top: int | None = None) -> list[tuple[Confusion, int]]:
        """The `top` most frequent of `characters` or `words`, or all."""
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]

    def as_dict(self, top: int | None = None) -> dict[str, Any]:
        """Totals, classes, and the `top` most frequent confusions, or all, for JSON."""
        return {
            "characters": _rates(self.character_edits),
            "words": _rates(self.word_edits),
            "invented": asdict(self.invented) | {"rate": self.invented.rate},
            "classes": {name: {"errors": c.errors, "reference": c.occurrences} for name, c in self.classes.items()},
            "character_confusions": [
                {"reference": c.reference, "completion": c.completion, "count": n, "page": self.examples[c][0]}
                for c, n in self.frequent(self.characters, top)
            ],
            "word_confusions": [
                {"reference": c.reference, "completion": c.completion, "count": n}
                for c, n in self.frequent(self.words, top)
            ],
        }

    def _class_of(self, character: str) -> ClassCount:
        return self.classes.setdefault(CLASSES[unicodedata.category(character[0])[0]], ClassCount())


def error_table(pages: Iterable[tuple[str, str, str]], unit: Unit = "codepoint") -> ErrorTable:
    """The errors of pages, each given as its name, its reference and its completion."""
    table = ErrorTable(unit)
    for page, reference, completion in pages:
        table.add(page, reference, completion)
    return table


def _rates(edits: EditCounts) -> dict[str, Any]:
    return {
        "errors": edits.distance,
        "reference": edits.reference_length,
        "rate": edits.error_rate,
        "wrong": edits.substitutions,
        "missing": edits.deletions,
        "added": edits.insertions,
    }


def _confusions(source: Sequence[str], target: Sequence[str]) -> Iterable[tuple[int, Confusion]]:
    """Each edit, with its place in the source."""
    for edit in Levenshtein.editops(source, target):
        before = "" if edit.tag == "insert" else source[edit.src_pos]
        after = "" if edit.tag == "delete" else target[edit.dest_pos]
        yield edit.src_pos, Confusion(before, after)


def _edits(source: Sequence[str], target: Sequence[str]) -> EditCounts:
    ops = Counter(edit.tag for edit in Levenshtein.editops(source, target))
    wrong, missing = ops["replace"], ops["delete"]
    return EditCounts(len(source) - wrong - missing, wrong, missing, ops["insert"])
