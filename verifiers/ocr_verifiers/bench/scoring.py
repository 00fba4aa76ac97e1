"""Reads and scores olmOCR-bench folders.

    DIR/*.jsonl                                       unit tests; each file is a category
    DIR/pdfs/**/*.pdf                                 the documents that the tests' `pdf` fields name
    DIR/CANDIDATE/**/<stem>_pg<page>_repeat<r>.md     the outputs of a system, in the same sub-folders as in `pdfs`

A test passes if it passes on more than half of its page's repeats. The score of a candidate is the unweighted mean
over the categories of passed / tests. A document without a baseline test gets one, in the category "baseline".
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.resampling import Counts, Interval, bootstrap_scores, interval, permutation_p, score_difference
from ocr_verifiers.rewards.rubric import Rubric
from ocr_verifiers.text.suggestions import suggestion
from ocr_verifiers.unit_tests.records import BaselineTest, UnitTest, read_tests
from ocr_verifiers.unit_tests.run import Compat
from ocr_verifiers.unit_tests.verdict import Verdict

BASELINE = "baseline"
"""The category of the baseline tests that are added."""
NO_OUTPUT = "no output"
"""The reason for failure if a candidate has no output for the page."""

_OUTPUT = re.compile(r"(.+)_pg([0-9]{1,9})_repeat([0-9]{1,9})\.md", re.DOTALL)
_OutputKey = tuple[str, int]
"""A document's path without its suffix, as in the names of outputs, and the page."""


class BenchTest(NamedTuple):
    """A unit test and its category."""

    category: str
    test: UnitTest


@dataclass(frozen=True)
class BenchPage:
    """A page of a document, its tests from all files, and every candidate's outputs for it."""

    pdf: str
    number: int
    tests: tuple[BenchTest, ...]
    outputs: Mapping[str, tuple[Path, ...]]
    """By candidate, a file per repeat. Candidates without output for the page are missing."""

    @property
    def name(self) -> str:
        """A readable name."""
        return f"{self.pdf}, page {self.number}"


@dataclass(frozen=True)
class Bench:
    """A benchmark folder."""

    folder: Path
    categories: tuple[str, ...]
    """The files by name, then the category of the added baseline tests."""
    candidates: tuple[str, ...]
    pages: tuple[BenchPage, ...]
    """In the order in which the tests mention them."""

    @property
    def tests(self) -> int:
        """The number of tests."""
        return sum(len(page.tests) for page in self.pages)


class Outcome(NamedTuple):
    """The result of one test on all repeats of a candidate's page."""

    verdicts: tuple[Verdict, ...]
    """One per repeat; empty without output."""

    @property
    def average(self) -> float:
        """The share of repeats that pass."""
        return sum(v.passed for v in self.verdicts) / len(self.verdicts) if self.verdicts else 0.0

    @property
    def passed(self) -> bool:
        """True if a strict majority of repeats passes; one of two is not enough."""
        return self.average > 0.5

    @property
    def why(self) -> str:
        """The reason of the first repeat that fails; empty if none does."""
        return next((v.why for v in self.verdicts if not v.passed), "") if self.verdicts else NO_OUTPUT


@dataclass(frozen=True)
class BenchPageResult:
    """The results of every candidate on a page."""

    page: BenchPage
    outcomes: Mapping[str, tuple[Outcome, ...]]
    """By candidate, in the order of the page's tests."""


class CategoryScore(NamedTuple):
    """A candidate's score in a category."""

    passed: int
    tests: int
    interval: Interval

    @property
    def score(self) -> float:
        """passed / tests."""
        return self.passed / self.tests


@dataclass(frozen=True)
class CandidateScore:
    """A candidate's scores."""

    name: str
    score: float
    """The unweighted mean over the categories."""
    interval: Interval
    categories: Mapping[str, CategoryScore]
    kinds: Mapping[str, tuple[float, int]]
    """(sum of the tests' averages, tests) by kind of test."""
    missing: tuple[BenchPage, ...]
    """Pages without output."""


class CandidateComparison(NamedTuple):
    """The best candidate compared with another one."""

    name: str
    difference: float
    """The best one's score minus this one's."""
    p: float
    """Of the paired permutation test over pages; not corrected for the number of comparisons."""


@dataclass(frozen=True)
class BenchScore:
    """All candidates, best first, and the comparisons of the best with each of the others."""

    candidates: tuple[CandidateScore, ...]
    comparisons: tuple[CandidateComparison, ...]


def read_bench(
    folder: Path, candidates: Sequence[str] = (), compat: Compat | None = None, skip_baseline: bool = False
) -> Bench:
    """The tests of a folder and the outputs of its candidates (all candidates if none is named).

    Raises RecordError for a folder without tests or candidates, and for an unknown candidate. A test that is in several
    files counts in each. Rejected tests are left out, except with olmOCR's own verdicts, which include them. A document
    without a baseline test gets one on its first page that has tests, or else on page 1.
    """
    tests = _read_tests(folder, compat, skip_baseline)
    found = _find_outputs(folder)
    if not found:
        raise RecordError(
            f"{folder}: has no candidate; write each system's outputs to its own folder, as <stem>_pg1_repeat1.md"
        )
    for name in candidates:
        if name not in found:
            raise RecordError(f'{folder}: has no outputs of candidate "{name}"; {suggestion(name, found)}')
    names = tuple(dict.fromkeys(candidates)) or tuple(found)
    by_page: dict[_OutputKey, list[BenchTest]] = {}
    for test in tests:
        by_page.setdefault(_output_key(test.test.pdf, test.test.page), []).append(test)
    stems = Counter(posixpath.basename(document) for document in {document for document, _ in by_page})
    pages = tuple(
        BenchPage(
            pdf=page_tests[0].test.pdf,
            number=page_tests[0].test.page,
            tests=tuple(page_tests),
            outputs={name: own for name in names if (own := _outputs_of(key, found[name], stems))},
        )
        for key, page_tests in by_page.items()
    )
    return Bench(folder, tuple(dict.fromkeys(test.category for test in tests)), names, pages)


def score_page(page: BenchPage, candidates: Sequence[str], compat: Compat | None = None) -> BenchPageResult:
    """Runs every test of a page on every repeat of every candidate.

    In strict mode, as in a rubric, an `absent` test passes only on a page that passes its baseline. Bytes that are not
    UTF-8 are read as U+FFFD, and equal outputs are scored once.
    """
    rubric = Rubric({"pass_rate": 1.0}, gates={}, compat=compat)
    prepared = rubric.prepare(tests=[test for _, test in page.tests])
    known: dict[str, tuple[Verdict, ...]] = {}
    outcomes = {}
    for name in candidates:
        texts = [read_output(path) for path in page.outputs.get(name, ())]
        for text in texts:
            if text not in known:
                known[text] = tuple(verdict for _, verdict in prepared.score(text).verdicts)
        outcomes[name] = tuple(Outcome(tuple(known[text][i] for text in texts)) for i in range(len(page.tests)))
    return BenchPageResult(page, outcomes)


def read_output(path: Path) -> str:
    """A candidate's output; line ends become \\n."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error


def sum_up(bench: Bench, results: Sequence[BenchPageResult], samples: int = 1000, seed: int = 0) -> BenchScore:
    """Scores, intervals, and comparisons of the best candidate with the others; ties in the order of the folder."""
    tests = _count(bench, results, bench.candidates[0], passed_only=False)
    passed = {name: _count(bench, results, name, passed_only=True) for name in bench.candidates}
    scored = [_score_candidate(bench, results, name, passed[name], tests, samples, seed) for name in bench.candidates]
    best, *others = sorted(scored, key=lambda candidate: -candidate.score)
    comparisons = []
    for other in others:
        differences = score_difference(passed[best.name], passed[other.name], tests)
        p = permutation_p(differences, samples, seed)
        comparisons.append(CandidateComparison(other.name, best.score - other.score, p))
    return BenchScore((best, *others), tuple(comparisons))


def _score_candidate(
    bench: Bench, results: Sequence[BenchPageResult], name: str, passed: Counts, tests: Counts, samples: int, seed: int
) -> CandidateScore:
    drawn = bootstrap_scores(passed, tests, samples, seed)
    categories = {
        category: CategoryScore(int(passed[c].sum()), int(tests[c].sum()), interval(drawn[:, c]))
        for c, category in enumerate(bench.categories)
    }
    kinds: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for result in results:
        for (_, test), outcome in zip(result.page.tests, result.outcomes[name], strict=True):
            average, number = kinds[test.type]
            kinds[test.type] = average + outcome.average, number + 1
    return CandidateScore(
        name=name,
        score=sum(category.score for category in categories.values()) / len(categories),
        interval=interval(drawn.mean(axis=1)),
        categories=categories,
        kinds=dict(sorted(kinds.items())),
        missing=tuple(result.page for result in results if name not in result.page.outputs),
    )


def _count(bench: Bench, results: Sequence[BenchPageResult], name: str, passed_only: bool) -> Counts:
    """The number of tests of each category on each page, shape (C, P): all, or those that the candidate passes."""
    counts = np.zeros((len(bench.categories), len(results)), dtype=np.int64)
    index = {category: c for c, category in enumerate(bench.categories)}
    for p, result in enumerate(results):
        for (category, _), outcome in zip(result.page.tests, result.outcomes[name], strict=True):
            counts[index[category], p] += outcome.passed or not passed_only
    return counts


def _read_tests(folder: Path, compat: Compat | None, skip_baseline: bool) -> list[BenchTest]:
    """The tests of all files, then the added baseline tests."""
    files = sorted(file for file in folder.glob("*.jsonl") if file.is_file())
    if not files:
        raise RecordError(f"{folder}: has no *.jsonl; a benchmark folder has a file of unit tests per category")
    tests = [BenchTest(file.stem, test) for file in files for _, test in read_tests(file, bool(compat), compat)]
    if not skip_baseline:
        category = BASELINE if BASELINE not in {file.stem for file in files} else f"{BASELINE} (implicit)"
        tests += [BenchTest(category, test) for test in _implicit_baselines(folder, [test for _, test in tests])]
    if not tests:
        raise RecordError(f"{folder}: its *.jsonl have no tests")
    return tests


def _implicit_baselines(folder: Path, tests: Sequence[UnitTest]) -> list[BaselineTest]:
    """A baseline test for each document, in `pdfs` or named by a test, that has none."""
    first_page: dict[str, int] = {}
    has_baseline = set()
    for test in tests:
        pdf = posixpath.normpath(test.pdf)
        first_page[pdf] = min(test.page, first_page.get(pdf, test.page))
        if test.type == "baseline":
            has_baseline.add(pdf)
    pdfs = folder / "pdfs"
    for file in sorted(pdfs.rglob("*.pdf")):
        first_page.setdefault(file.relative_to(pdfs).as_posix(), 1)
    return [
        BaselineTest(pdf=pdf, page=page, id=f"{pdf}_baseline", type="baseline")
        for pdf, page in first_page.items()
        if pdf not in has_baseline
    ]


def _find_outputs(folder: Path) -> dict[str, dict[_OutputKey, tuple[Path, ...]]]:
    """The output files by candidate and page, in the order of repeats; candidates are sorted by name."""
    found = {}
    for candidate in sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "pdfs"):
        repeats: dict[_OutputKey, list[tuple[int, Path]]] = defaultdict(list)
        for file in candidate.rglob("*.md"):
            match = _OUTPUT.fullmatch(file.relative_to(candidate).as_posix())
            if match:
                repeats[match[1], int(match[2])].append((int(match[3]), file))
        if repeats:
            found[candidate.name] = {key: tuple(file for _, file in sorted(own)) for key, own in repeats.items()}
    return found


def _outputs_of(
    key: _OutputKey, found: Mapping[_OutputKey, tuple[Path, ...]], stems: Mapping[str, int]
) -> tuple[Path, ...]:
    """A page's outputs: in the document's sub-folder, or else flat if no other document has the same file name."""
    document, page = key
    stem = posixpath.basename(document)
    return found.get(key) or (found.get((stem, page), ()) if stems[stem] == 1 else ())


def _output_key(pdf: str, page: int) -> _OutputKey:
    return posixpath.splitext(posixpath.normpath(pdf))[0], page
