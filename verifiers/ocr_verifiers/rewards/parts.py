"""The quality parts of a reward: each a pure function with a value in [0, 1], and a reason where that is 0.

Parts of a reference compare it with the completion, both without their front matter; parts of tests sum up verdicts.
None is for a part that cannot be computed, because the reference has nothing of its kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ocr_verifiers import metrics
from ocr_verifiers.markup import katex, mathml
from ocr_verifiers.markup.formats import Formats, take_apart
from ocr_verifiers.metrics.teds import tables_similarity
from ocr_verifiers.text.edit_distance import EditCounts, Unit, char_edits, word_edits
from ocr_verifiers.text.normalize import normalize
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.records import UnitTest
from ocr_verifiers.unit_tests.verdict import Verdict

MAX_FORMULAS = 300
"""Formulas of a completion that are rendered; of those beyond them, only what the reference spells alike counts."""

Verdicts = Sequence[tuple[UnitTest, Verdict]]


class PartValue(NamedTuple):
    """What a part is worth."""

    value: float
    """In [0, 1]."""
    why: str = ""
    """Why it is 0."""


@dataclass(frozen=True)
class ComparedText:
    """A reference or a completion, without front matter; each view of it is made once."""

    text: str
    normalization: tuple[str, ...]
    """Applied before edits are counted."""
    unit: Unit
    """What a character is."""

    @cached_property
    def normalized(self) -> str:
        """What edits are counted in."""
        return normalize(self.text, self.normalization)

    @cached_property
    def formats(self) -> Formats:
        """Prose, formulas and tables."""
        return take_apart(self.text)

    @cached_property
    def prose(self) -> str:
        """The prose as edits are counted in it."""
        return normalize(self.formats.prose, self.normalization)


@dataclass(frozen=True)
class Comparison:
    """A reference and a completion."""

    reference: ComparedText
    completion: ComparedText

    @cached_property
    def characters(self) -> EditCounts:
        """Edits in characters of the reference's unit."""
        return char_edits(self.reference.normalized, self.completion.normalized, self.reference.unit)

    @cached_property
    def words(self) -> EditCounts:
        """Edits in words."""
        return word_edits(self.reference.normalized, self.completion.normalized)


def similarity(texts: Comparison) -> PartValue:
    """1 - edits / length of the longer text, in characters."""
    return _reasoned(texts.characters.similarity, lambda: _nothing_alike(texts, "character"))


def word_similarity(texts: Comparison) -> PartValue:
    """The same in words."""
    return _reasoned(texts.words.similarity, lambda: _nothing_alike(texts, "word"))


def exact(texts: Comparison) -> PartValue:
    """1 if the texts are equal, else 0."""
    edits = texts.characters.distance
    return _reasoned(float(edits == 0), lambda: f"differs in {edits} characters")


def length(texts: Comparison) -> PartValue:
    """Characters of the shorter text / those of the longer one; 1 for two empty ones."""
    expected, written = texts.characters.reference_length, texts.characters.completion_length
    longer = max(expected, written)
    return _reasoned(
        min(expected, written) / longer if longer else 1.0,
        lambda: f"{written} characters for a reference of {expected}",
    )


def numbers(texts: Comparison) -> PartValue | None:
    """F1 of the numbers, as a multiset of values."""
    score = metrics.numbers_exact(texts.reference.text, texts.completion.text)
    if not score.expected:
        return None
    return _reasoned(score.f1, lambda: f"none of the reference's {score.expected} numbers")


def paragraphs(texts: Comparison) -> PartValue:
    """How near the number of paragraphs is: R_count of arXiv 2506.03197."""
    value = metrics.paragraph_count(texts.reference.text, texts.completion.text)
    return _reasoned(value, lambda: f"{len(metrics.paragraphs(texts.completion.text))} paragraphs are far off")


def reading_order(texts: Comparison) -> PartValue:
    """The share of pairs of paragraphs that are there in the reference's order: R_order of arXiv 2506.03197."""
    value = metrics.reading_order(texts.reference.text, texts.completion.text)
    return _reasoned(value, lambda: "no two paragraphs of the reference in its order")


def prose(texts: Comparison) -> PartValue | None:
    """1 - edits / length of the longer one, of what is neither formula nor table."""
    if not texts.reference.prose:
        return None
    edits = char_edits(texts.reference.prose, texts.completion.prose, texts.reference.unit)
    return _reasoned(edits.similarity, lambda: "the prose has nothing in common with the reference's")


def formulas(texts: Comparison) -> PartValue | None:
    """Formulas that print like one of the reference's / those of the side that has more; each counts once.

    One that cannot be rendered equals what is spelt like it. A ValueError without the engine that renders.
    """
    expected, written = texts.reference.formats.formulas, texts.completion.formats.formulas
    if not expected:
        return None
    if not katex.installed():
        raise ValueError(katex.INSTALL)
    left, free = Counter(map(_spelling, expected)), Counter(map(_spelling, written))
    alike = left & free
    left, free = left - alike, free - alike
    matched = alike.total()
    if left and free:
        rendered = dict(list(free.items())[:MAX_FORMULAS])
        katex.render_all([mathml.spelt(latex) for latex in (*left, *rendered)])
        matched += (_printed(left) & _printed(rendered)).total()
    return _reasoned(
        matched / max(len(expected), len(written)),
        lambda: f"none of {len(expected)} formulas; the first is {shown(expected[0])}",
    )


def tables(texts: Comparison) -> PartValue | None:
    """TEDS of the tables that belong together, by their cells; a table too few or too many costs its cells."""
    expected, written = texts.reference.formats.tables, texts.completion.formats.tables
    if not expected:
        return None
    value = tables_similarity(expected, written)
    return _reasoned(value, lambda: "the tables have nothing in common" if written else "no table on the page")


def format_decoupled(texts: Comparison) -> PartValue | None:
    """Prose, formulas and tables, each by its own measure, weighed by their shares of the reference's characters.

    In the manner of arXiv 2601.08834. A format that only the completion has is worth nothing, and weighs what the
    completion says in it. A reference without a character is met by a completion without one.
    """
    expected, written = texts.reference.formats.characters, texts.completion.formats.characters
    weights = {name: expected[name] or written[name] for name in FORMATS}
    total = sum(weights.values())
    if not total:
        return PartValue(1.0)
    values = {name: measure(texts) for name, measure in FORMATS.items() if expected[name]}
    value = sum(weights[name] * found.value for name, found in values.items() if found) / total
    return _reasoned(value, lambda: "; ".join(found.why for found in values.values() if found and found.why))


FORMATS: Mapping[str, Callable[[Comparison], PartValue | None]] = {
    "prose": prose,
    "formulas": formulas,
    "tables": tables,
}

REFERENCE_PARTS: Mapping[str, Callable[[Comparison], PartValue | None]] = {
    "similarity": similarity,
    "word_similarity": word_similarity,
    "exact": exact,
    "length": length,
    "numbers": numbers,
    "paragraphs": paragraphs,
    "reading_order": reading_order,
    **FORMATS,
    "format_decoupled": format_decoupled,
}


def pass_rate(verdicts: Verdicts) -> PartValue:
    """Tests passed / tests."""
    passed = sum(verdict.passed for _, verdict in verdicts)
    return _reasoned(passed / len(verdicts), lambda: f"no test passed; the first: {verdicts[0][1].why}")


def pass_rate_macro(verdicts: Verdicts) -> PartValue:
    """The mean over the kinds of tests of passed / tests."""
    kinds: defaultdict[str, list[bool]] = defaultdict(list)
    for test, verdict in verdicts:
        kinds[test.type].append(verdict.passed)
    value = sum(sum(passed) / len(passed) for passed in kinds.values()) / len(kinds)
    return _reasoned(min(1.0, value), lambda: f"no test passed; the first: {verdicts[0][1].why}")


TEST_PARTS: Mapping[str, Callable[[Verdicts], PartValue]] = {
    "pass_rate": pass_rate,
    "pass_rate_macro": pass_rate_macro,
}


def _reasoned(value: float, why: Callable[[], str]) -> PartValue:
    return PartValue(value) if value else PartValue(value, why())


def _nothing_alike(texts: Comparison, unit: str) -> str:
    if not texts.completion.normalized:
        return "the completion is empty"
    if not texts.reference.normalized:
        return "the reference is empty, and the completion is not"
    return f"no {unit} in common, in order"


def _spelling(latex: str) -> str:
    return " ".join(latex.split())


def _printed(formulas: Mapping[str, int]) -> Counter[Hashable]:
    """How many formulas print alike, by what they print."""
    forms: Counter[Hashable] = Counter()
    for latex, times in formulas.items():
        formula = mathml.printed(latex)
        forms[latex if formula.error is not None else formula.whole] += times
    return forms
