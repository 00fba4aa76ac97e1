"""A benchmark folder, read and scored; and everything found, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
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
from ocr_verifiers.unit_tests.run import Compat


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
    results = [score_page(page, bench.candidates, options.compat) for page in pages]
    return BenchRun(options, bench, results, sum_up(bench, results, options.samples, options.seed))


def json_report(run: BenchRun) -> dict[str, Any]:
    """All scores and verdicts: candidates from best to worst, tests page by page."""
    score = run.score
    return {
        "version": ocr_verifiers.__version__,
        "compat": run.options.compat,
        "seed": run.options.seed,
        "samples": run.options.samples,
        "tests": run.bench.tests,
        "pages": len(run.bench.pages),
        "candidates": {candidate.name: _candidate(candidate) for candidate in score.candidates},
        "comparisons": [{"best": score.candidates[0].name, **other._asdict()} for other in score.comparisons],
        "verdicts": [verdict for result in run.results for verdict in _verdicts(result)],
    }


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
