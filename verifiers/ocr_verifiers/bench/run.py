"""A benchmark folder, read and scored; and everything found, as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ocr_verifiers
from ocr_verifiers.bench.scoring import (
    Bench,
    BenchPageResult,
    BenchScore,
    CandidateScore,
    read_bench,
    score_page,
    sum_up,
)
from ocr_verifiers.files.progress import Progress, silent
from ocr_verifiers.outputs.conversion import OutputFormat
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.run import Compat, run_test

MUCH = 0.5
"""Of a category's tests: more than this on an empty page is worth a warning."""


@dataclass(frozen=True)
class BenchOptions:
    """What to score, and how."""

    folder: Path
    candidates: tuple[str, ...] = ()
    """Names of candidates; all of the folder's if empty."""
    compat: Compat | None = None
    skip_baseline: bool = False
    """Add no baseline test to documents that have none."""
    samples: int = 1000
    """For each interval and each p-value."""
    seed: int = 0
    output: OutputFormat = "markdown"
    """The format of the outputs."""


@dataclass(frozen=True)
class BenchRun:
    """A scored benchmark."""

    options: BenchOptions
    bench: Bench
    results: Sequence[BenchPageResult]
    score: BenchScore


def run_bench(options: BenchOptions, progress: Progress = silent) -> BenchRun:
    """Reads a benchmark folder and scores its candidates."""
    bench = read_bench(options.folder, options.candidates, options.compat, options.skip_baseline)
    pages = progress(bench.pages, "pages", len(bench.pages))
    results = [score_page(page, bench.candidates, options.compat, options.output) for page in pages]
    return BenchRun(options, bench, results, sum_up(bench, results, options.samples, options.seed))


def empty_page_shares(run: BenchRun) -> dict[str, float]:
    """The share of each category's tests that a page without any text passes, where that is more than half.

    In olmOCR-bench these are the headers: `absent` tests alone, which the strict mode does not pay for.
    """
    empty = PreparedPage("")
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for page in run.bench.pages:
        for category, test in page.tests:
            pays = bool(run.options.compat) or test.type != "absent"
            verdicts[category].append(pays and run_test(test, empty, run.options.compat).passed)
    shares = {category: sum(passed) / len(passed) for category, passed in verdicts.items()}
    return {category: share for category, share in shares.items() if share > MUCH}


def score_without(candidate: CandidateScore, left_out: Collection[str]) -> float | None:
    """The mean over the other categories; None if there is none."""
    scores = [own.score for name, own in candidate.categories.items() if name not in left_out]
    return sum(scores) / len(scores) if scores else None


def json_report(run: BenchRun) -> dict[str, Any]:
    """All scores and verdicts: candidates from best to worst, tests page by page."""
    score = run.score
    empty = empty_page_shares(run)
    given = {"output": run.options.output, "malformed": malformed_outputs(run)}
    return {
        "version": ocr_verifiers.__version__,
        "compat": run.options.compat,
        "seed": run.options.seed,
        "samples": run.options.samples,
        **(given if run.options.output != "markdown" else {}),
        "tests": run.bench.tests,
        "pages": len(run.bench.pages),
        "empty_page": empty,
        "candidates": {
            candidate.name: _candidate(candidate) | {"score_without_empty_page": score_without(candidate, empty)}
            for candidate in score.candidates
        },
        "comparisons": [{"best": score.candidates[0].name, **other._asdict()} for other in score.comparisons],
        "verdicts": [verdict for result in run.results for verdict in _verdicts(result)],
    }


def malformed_outputs(run: BenchRun) -> list[dict[str, Any]]:
    """The outputs that are not in the given format, and why."""
    return [
        {"candidate": name, "pdf": result.page.pdf, "page": result.page.number, "repeat": repeat, "why": why}
        for result in run.results
        for name, problems in result.malformed.items()
        for repeat, why in enumerate(problems, 1)
        if why
    ]


def _verdicts(result: BenchPageResult) -> list[dict[str, Any]]:
    return [
        {
            "id": test.id,
            "category": category,
            "pdf": test.pdf,
            "page": test.page,
            "type": test.type,
            "candidates": {
                name: {
                    "passed": outcomes[i].passed,
                    "average": outcomes[i].average,
                    "repeats": [verdict.passed for verdict in outcomes[i].verdicts],
                    "why": outcomes[i].why,
                }
                for name, outcomes in result.outcomes.items()
            },
        }
        for i, (category, test) in enumerate(result.page.tests)
    ]


def _candidate(candidate: CandidateScore) -> dict[str, Any]:
    return {
        "score": candidate.score,
        "interval": list(candidate.interval),
        "categories": {
            name: {"score": own.score, "interval": list(own.interval), "passed": own.passed, "tests": own.tests}
            for name, own in candidate.categories.items()
        },
        "kinds": {kind: {"average": total / tests, "tests": tests} for kind, (total, tests) in candidate.kinds.items()},
        "pages_without_output": [{"pdf": page.pdf, "page": page.number} for page in candidate.missing],
    }
