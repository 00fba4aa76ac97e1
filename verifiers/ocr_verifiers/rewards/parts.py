"""The quality parts of a reward: pure functions that give a value in [0, 1], and a reason if it is 0.

Reference parts compare the completion with the reference, both without front matter; test parts sum up verdicts. A part
is None if it cannot be computed because the reference has nothing of that kind.

Similarity is that of what is read: see `markup.reading`. What a completion hides in comments and attributes, or in
front matter that nobody asked for, counts as insertions there.
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
from ocr_verifiers.markup.grid import Grid
from ocr_verifiers.markup.reading import Reading, read
from ocr_verifiers.metrics.grits import grits_con, grits_top
from ocr_verifiers.metrics.numbers import NumberScore, numbers_of_reading
from ocr_verifiers.metrics.table_matching import matched_tables
from ocr_verifiers.metrics.teds import tables_similarity
from ocr_verifiers.text.edit_distance import EditCounts, Unit, char_edits, similarity_of, units, word_edits
from ocr_verifiers.text.equivalences import Pairs, equate
from ocr_verifiers.text.normalize import normalize
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.text.repetition import find_loops
from ocr_verifiers.unit_tests.loops import repeated_lengths
from ocr_verifiers.unit_tests.records import UnitTest
from ocr_verifiers.unit_tests.verdict import Verdict

USUAL_FRONT_MATTER = 200
"""Characters of front matter that cost nothing; olmOCR's takes about 140."""
CHARACTERS_PER_WORD = 6
"""Of hidden text."""
MAX_FORMULAS = 300
"""How many formulas of a completion are rendered; the others count only if the reference has equal LaTeX."""

Verdicts = Sequence[tuple[UnitTest, Verdict]]


class PartValue(NamedTuple):
    """The value of a part."""

    value: float
    """In [0, 1]."""
    why: str = ""
    """Why it is 0."""


@dataclass(frozen=True)
class ComparedText:
    """A reference or a completion, without front matter; each view of it is computed once."""

    text: str
    normalization: tuple[str, ...]
    """Applied before edits are counted."""
    unit: Unit
    """What a character is."""
    front_matter: int = 0
    """Characters of the front matter before it."""
    equivalences: Pairs = ()
    """Texts that are replaced after that, each with its equivalent."""

    @cached_property
    def normalized(self) -> str:
        """The text in which CER and WER are counted."""
        return self._equal(self.text)

    @cached_property
    def reading(self) -> Reading:
        """What is read of the text."""
        return read(self.text)

    @cached_property
    def read(self) -> str:
        """What is read, normalised: the text whose similarity counts."""
        return self.normalized if self.reading.text is self.text else self._equal(self.reading.text)

    @property
    def hidden(self) -> int:
        """Characters that nobody reads, beyond what is usual."""
        return self.reading.hidden + max(0, self.front_matter - USUAL_FRONT_MATTER)

    @cached_property
    def numbers(self) -> Counter[str]:
        """The numbers that are read."""
        return numbers_of_reading(self.reading.text)

    @cached_property
    def repeats(self) -> Mapping[str, int]:
        """What is repeated back to back, as `judge_loops` takes it."""
        return repeated_lengths(find_loops(self.reading.text))

    @cached_property
    def formats(self) -> Formats:
        """Prose, formulas and tables."""
        return take_apart(self.text)

    @property
    def characters(self) -> dict[str, int]:
        """The number of characters in each format, of prose those that are read."""
        return {**self.formats.characters, "prose": sum(map(len, self.prose.split()))}

    @cached_property
    def prose(self) -> str:
        """What is read of the prose, normalised for counting edits."""
        return self._equal(read(self.formats.prose).text)

    def _equal(self, text: str) -> str:
        return equate(normalize(text, self.normalization), self.equivalences)


@dataclass(frozen=True)
class Comparison:
    """A reference and a completion."""

    reference: ComparedText
    completion: ComparedText

    @cached_property
    def characters(self) -> EditCounts:
        """Character edits, in the unit of the reference."""
        return char_edits(self.reference.normalized, self.completion.normalized, self.reference.unit)

    @cached_property
    def words(self) -> EditCounts:
        """Word edits."""
        return word_edits(self.reference.normalized, self.completion.normalized)

    @cached_property
    def similarity(self) -> float:
        """1 - edits / length of the longer text, in characters of what is read."""
        reference, completion = self.reference, self.completion
        if reference.read is reference.normalized and completion.read is completion.normalized and not self.hidden:
            return self.characters.similarity
        return similarity_of(units(reference.read, reference.unit), units(completion.read, reference.unit), self.hidden)

    @cached_property
    def word_similarity(self) -> float:
        """The same in words."""
        words = [side.read.replace("|", " ").split() for side in (self.reference, self.completion)]
        return similarity_of(words[0], words[1], self.hidden // CHARACTERS_PER_WORD)

    @property
    def hidden(self) -> int:
        """Characters that the completion hides, beyond those of the reference."""
        return max(0, self.completion.hidden - self.reference.hidden)

    @cached_property
    def numbers(self) -> NumberScore:
        """The numbers of both, as multisets."""
        expected, written = self.reference.numbers, self.completion.numbers
        return NumberScore((expected & written).total(), expected.total(), written.total())


def similarity(texts: Comparison) -> PartValue:
    """1 - edits / length of the longer text, in characters of what is read."""
    return _reasoned(texts.similarity, lambda: _nothing_alike(texts, "character"))


def word_similarity(texts: Comparison) -> PartValue:
    """The same in words."""
    return _reasoned(texts.word_similarity, lambda: _nothing_alike(texts, "word"))


def exact(texts: Comparison) -> PartValue:
    """1 if the texts are equal, else 0."""
    edits = texts.characters.distance
    return _reasoned(float(edits == 0), lambda: f"differs in {edits} characters")


def length(texts: Comparison) -> PartValue:
    """Characters of the shorter text / characters of the longer one; 1 for two empty texts."""
    expected, written = texts.characters.reference_length, texts.characters.completion_length
    longer = max(expected, written)
    return _reasoned(
        min(expected, written) / longer if longer else 1.0,
        lambda: f"{written} characters for a reference of {expected}",
    )


def numbers(texts: Comparison) -> PartValue | None:
    """F1 of the numbers that are read, as a multiset of values."""
    score = texts.numbers
    if not score.expected:
        return None
    return _reasoned(score.f1, lambda: f"none of the reference's {score.expected} numbers")


def paragraphs(texts: Comparison) -> PartValue:
    """How close the number of paragraphs is: R_count of arXiv 2506.03197."""
    value = metrics.paragraph_count(texts.reference.text, texts.completion.text)
    return _reasoned(value, lambda: f"{len(metrics.paragraphs(texts.completion.text))} paragraphs are far off")


def reading_order(texts: Comparison) -> PartValue:
    """The share of pairs of paragraphs found in the reference's order: R_order of arXiv 2506.03197, adapted."""
    value = metrics.reading_order(texts.reference.text, texts.completion.text)
    return _reasoned(value, lambda: "no two paragraphs of the reference in its order")


def prose(texts: Comparison) -> PartValue | None:
    """1 - edits / length of the longer one, without formulas and tables."""
    if not texts.reference.prose:
        return None
    unit = texts.reference.unit
    value = similarity_of(units(texts.reference.prose, unit), units(texts.completion.prose, unit), texts.hidden)
    return _reasoned(value, lambda: "the prose has nothing in common with the reference's")


def formulas(texts: Comparison) -> PartValue | None:
    """Formulas that print like one of the reference's / formulas of the side that has more; each counts once.

    Formulas that cannot be rendered match only equal LaTeX. Raises ValueError if the rendering engine is missing.
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
        lambda: f"none of {len(expected)} formulas; the first is {quoted(expected[0])}",
    )


def formulas_cdm(texts: Comparison) -> PartValue | None:
    """CDM of matching formulas; a missing or extra one is worth 0.

    Raises ValueError if the rendering engine is missing.
    """
    expected, written = texts.reference.formats.formulas, texts.completion.formats.formulas
    if not expected:
        return None
    if not katex.installed():
        raise ValueError(katex.INSTALL)
    value = metrics.formulas_cdm(expected, written[:MAX_FORMULAS]) * min(1.0, MAX_FORMULAS / max(1, len(written)))
    return _reasoned(value, lambda: f"no character of {len(expected)} formulas; the first is {quoted(expected[0])}")


def tables(texts: Comparison) -> PartValue | None:
    """TEDS of matching tables, weighted by their cells; a missing or extra table costs its cells."""
    expected, written = texts.reference.formats.tables, texts.completion.formats.tables
    if not expected:
        return None
    return _unlike_tables(tables_similarity(expected, written), written)


def anls(texts: Comparison) -> PartValue | None:
    """ANLS* of two JSON objects or arrays."""
    value = metrics.json_anls(texts.reference.text, texts.completion.text)
    return None if value is None else _reasoned(value, lambda: "none of the values of the reference's JSON")


def grits_content(texts: Comparison) -> PartValue | None:
    """GriTS_Con of matching tables, weighted by their cells."""
    expected, written = texts.reference.formats.tables, texts.completion.formats.tables
    return _unlike_tables(matched_tables(expected, written, grits_con), written) if expected else None


def grits_topology(texts: Comparison) -> PartValue | None:
    """GriTS_Top of matching tables, weighted by their cells."""
    expected, written = texts.reference.formats.tables, texts.completion.formats.tables
    return _unlike_tables(matched_tables(expected, written, grits_top), written) if expected else None


def format_decoupled(texts: Comparison) -> PartValue | None:
    """Prose, formulas and tables, each by its own measure, weighted by their shares of the reference's characters.

    After arXiv 2601.08834. A format that only the completion has is worth 0, weighted by its characters there. If the
    reference is empty, an empty completion scores 1 and any other 0.
    """
    expected, written = texts.reference.characters, texts.completion.characters
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
    "anls": anls,
    "grits_con": grits_content,
    "grits_top": grits_topology,
    "cdm": formulas_cdm,
}


def pass_rate(verdicts: Verdicts) -> PartValue:
    """Tests passed / tests."""
    passed = sum(verdict.passed for _, verdict in verdicts)
    return _reasoned(passed / len(verdicts), lambda: f"no test passed; the first: {verdicts[0][1].why}")


def pass_rate_macro(verdicts: Verdicts) -> PartValue:
    """The mean of passed / tests over the kinds of tests."""
    kinds: defaultdict[str, list[bool]] = defaultdict(list)
    for test, verdict in verdicts:
        kinds[test.type].append(verdict.passed)
    value = sum(sum(passed) / len(passed) for passed in kinds.values()) / len(kinds)
    return _reasoned(min(1.0, value), lambda: f"no test passed; the first: {verdicts[0][1].why}")


TEST_PARTS: Mapping[str, Callable[[Verdicts], PartValue]] = {
    "pass_rate": pass_rate,
    "pass_rate_macro": pass_rate_macro,
}


def _unlike_tables(value: float, written: Sequence[Grid]) -> PartValue:
    return _reasoned(value, lambda: "the tables have nothing in common" if written else "no table on the page")


def _reasoned(value: float, why: Callable[[], str]) -> PartValue:
    return PartValue(value) if value else PartValue(value, why())


def _nothing_alike(texts: Comparison, unit: str) -> str:
    if not texts.completion.read:
        return "the completion is empty, or nothing of it is read"
    if not texts.reference.read:
        return "the reference is empty, and the completion is not"
    return f"no {unit} in common, in order"


def _spelling(latex: str) -> str:
    return " ".join(latex.split())


def _printed(formulas: Mapping[str, int]) -> Counter[Hashable]:
    """The number of formulas by what they print."""
    forms: Counter[Hashable] = Counter()
    for latex, times in formulas.items():
        formula = mathml.printed(latex)
        forms[latex if formula.error is not None else formula.whole] += times
    return forms
