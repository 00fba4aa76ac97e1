"""A file of predictions, scored against references and unit tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ocr_verifiers
from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.files.page_rows import PageKey, PageRow, page_of, read_page_rows
from ocr_verifiers.files.progress import Progress, silent
from ocr_verifiers.markup.front_matter import split_front_matter
from ocr_verifiers.outputs.conversion import OutputFormat
from ocr_verifiers.rewards.groups import Group
from ocr_verifiers.rewards.rubric import Rubric, Score
from ocr_verifiers.rewards.scoring_pool import ScoringPool
from ocr_verifiers.text.edit_distance import Unit, pool
from ocr_verifiers.text.equivalences import Pairs, equate
from ocr_verifiers.text.normalize import normalize
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.records import UnitTest, page_of_test, read_tests
from ocr_verifiers.unit_tests.run import Compat

USUAL = Rubric().normalization


@dataclass(frozen=True)
class PredictionOptions:
    """Which files to score, and how."""

    predictions: Path
    references: Path
    tests: Path | None = None
    """If None, tests.jsonl beside the references, if it exists."""
    unit: Unit = "codepoint"
    """What CER counts as a character."""
    compat: Compat | None = None
    output: OutputFormat = "markdown"
    """The format of the predictions."""
    timeout: float | None = 60.0
    """Seconds for one page; None is no limit."""
    normalization: tuple[str, ...] = USUAL
    """Before edits are counted."""
    equivalences: Pairs = ()
    """Pairs of texts that count as equal after that."""

    @property
    def tests_file(self) -> Path | None:
        """The file of tests that is read, if any."""
        beside = self.references.with_name("tests.jsonl")
        return self.tests or (beside if beside.exists() else None)


@dataclass(frozen=True)
class ScoredPage:
    """A prediction with its reference row; `score` is None if the page has neither a text nor tests."""

    name: str
    row: Mapping[str, Any]
    score: Score | None


def score_predictions(options: PredictionOptions, progress: Progress = silent) -> dict[str, Any]:
    """The scores of all pages that have a prediction, page by page, by source, by kind of test and in total."""
    known = {page_of(row.name): row for row in read_page_rows(options.references)}
    texts = _read_predictions(options.predictions, known, options.references)
    tests = options.tests_file
    by_page = _tests_by_page(tests, known, options) if tests else {}
    weights = {"similarity": 1.0, "exact": 1.0, "pass_rate": 1.0}
    rubric = Rubric(
        weights,
        {"repetition": 0.5, "compression": 0.5},
        unit=options.unit,
        compat=options.compat,
        output=options.output,
        normalization=options.normalization,
        equivalences=options.equivalences,
    )
    groups = (
        Group(str(options.predictions), name, known[page].text, tuple(by_page.get(page, ())), (text,), (True,))
        for page, (name, text) in texts.items()
        if known[page].text is not None or by_page.get(page)
    )
    with ScoringPool(rubric, 1, options.timeout) as pool:
        scored = progress(pool.score_groups(groups), "scoring", len(texts))
        scores = {group.id: score for group, (score,) in scored}
    pages = [ScoredPage(name, known[page].row, scores.get(name)) for page, (name, _) in texts.items()]
    report = _report(pages, len(known))
    if options.normalization != USUAL or options.equivalences:
        report |= {"normalization": list(options.normalization), "equivalences": options.equivalences}
    if late := [page.name for page in pages if page.score and page.score.trouble]:
        report |= {"too_late": late}
    if options.output != "markdown":
        malformed = {page.name: page.score.malformed for page in pages if page.score and page.score.malformed}
        report |= {"output": options.output, "malformed": malformed}
    return report


def predicted_pages(
    predictions: Path, references: Path, normalization: Sequence[str] = USUAL, equivalences: Pairs = ()
) -> Iterator[tuple[str, str, str]]:
    """Name, reference and prediction of each page that has both, normalised as CER is counted."""

    def compared(text: str) -> str:
        return equate(normalize(split_front_matter(text).body, normalization), equivalences)

    known = {page_of(row.name): row for row in read_page_rows(references)}
    for page, (name, text) in _read_predictions(predictions, known, references).items():
        reference = known[page].text
        if reference is not None:
            yield name, compared(reference), compared(text)


def _read_predictions(path: Path, known: Mapping[PageKey, PageRow], references: Path) -> dict[PageKey, tuple[str, str]]:
    """(name, predicted text) by page, in the order of the file."""
    texts: dict[PageKey, tuple[str, str]] = {}
    for row in read_page_rows(path):
        page = page_of(row.name)
        if page not in known:
            raise RecordError(f"{row.where}: {quoted(row.name)} has no reference in {references}")
        if row.text is None:
            raise RecordError(f'{row.where}: "text" of {quoted(row.name)} is missing; write "" for an empty page')
        texts[page] = row.name, row.text
    return texts


def _tests_by_page(
    path: Path, known: Mapping[PageKey, PageRow], options: PredictionOptions
) -> dict[PageKey, list[UnitTest]]:
    by_page: dict[PageKey, list[UnitTest]] = {}
    for number, test in read_tests(path, keep_rejected=bool(options.compat), compat=options.compat):
        page = page_of_test(test)
        if page not in known:
            raise RecordError(
                f"{path}:{number}: page {test.page} of {quoted(test.pdf)} has no reference in {options.references}"
            )
        by_page.setdefault(page, []).append(test)
    return by_page


def _report(pages: Sequence[ScoredPage], references: int) -> dict[str, Any]:
    """All scores, as JSON."""
    sources = dict.fromkeys(page.row["source"] for page in pages if isinstance(page.row.get("source"), str))
    return {
        "version": ocr_verifiers.__version__,
        "references": references,
        "predictions": len(pages),
        "pages_without_scores": [page.name for page in pages if page.score is None],
        "totals": _totals(pages),
        "by_source": {s: _totals([page for page in pages if page.row.get("source") == s]) for s in sources},
        "by_kind": _by_kind(pages),
        "pages": [_page_row(page) for page in pages],
    }


def _totals(pages: Sequence[ScoredPage]) -> dict[str, Any]:
    scores = [page.score for page in pages if page.score]
    characters = pool(s.char_edits for s in scores if s.char_edits)
    words = pool(s.word_edits for s in scores if s.word_edits)
    similarity = [s.parts["similarity"] for s in scores if "similarity" in s.parts]
    tests, passed = sum(s.scored_tests for s in scores), sum(s.passed for s in scores)
    return {
        "n": len(pages),
        "with_reference": len(similarity),
        "cer": characters.error_rate if similarity else None,
        "wer": words.error_rate if similarity else None,
        "char_edits": characters.distance,
        "reference_chars": characters.reference_length,
        "word_edits": words.distance,
        "reference_words": words.reference_length,
        "similarity": sum(similarity) / len(similarity) if similarity else None,
        "exact": int(sum(s.parts.get("exact", 0.0) for s in scores)),
        "tests": tests,
        "passed": passed,
        "pass_rate": passed / tests if tests else None,
    }


def _by_kind(pages: Sequence[ScoredPage]) -> dict[str, Any]:
    verdicts = [pair for page in pages if page.score for pair in page.score.verdicts]
    total = Counter(test.type for test, _ in verdicts)
    passed = Counter(test.type for test, verdict in verdicts if verdict.passed)
    return {
        kind: {"tests": n, "passed": passed[kind], "pass_rate": passed[kind] / n} for kind, n in sorted(total.items())
    }


def _page_row(page: ScoredPage) -> dict[str, Any]:
    score = page.score
    characters, words = (score.char_edits, score.word_edits) if score else (None, None)
    return {
        "file_name": page.name,
        "cer": characters.error_rate if characters else None,
        "wer": words.error_rate if words else None,
        "similarity": score.parts.get("similarity") if score else None,
        "exact": score.parts["exact"] == 1.0 if score and "exact" in score.parts else None,
        "pass_rate": score.parts.get("pass_rate") if score else None,
        "loops": score.parts["repetition"] < 1.0 if score and not score.trouble else None,
        "compresses": score.parts["compression"] < 1.0 if score and not score.trouble else None,
        "tests": [
            {"id": test.id, "type": test.type, "passed": verdict.passed, "why": verdict.why}
            for test, verdict in (score.verdicts if score else ())
        ],
    }
