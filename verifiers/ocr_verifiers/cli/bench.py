"""`ocr-verify bench`: candidates on an olmOCR-bench folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

import ocr_verifiers
from ocr_verifiers.bench.report import render_report
from ocr_verifiers.bench.scoring import (
    Bench,
    BenchPageResult,
    BenchScore,
    CandidateScore,
    read_bench,
    score_page,
    sum_up,
)
from ocr_verifiers.files.jsonl import RecordError, write_json_atomic, write_text_atomic
from ocr_verifiers.unit_tests.run import Compat


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--candidate", "names", multiple=True, metavar="NAME", help="Only this candidate; may be repeated.")
@click.option("--compat", type=click.Choice(["olmocr"]), help="olmOCR's own verdicts, holes included.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write scores and every verdict here.")
@click.option("--html", "html_out", type=click.Path(path_type=Path), help="Write a self-contained report here.")
@click.option("--max-pages", type=click.IntRange(1), default=60, show_default=True, help="Pages in the report.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of intervals and p-values.")
@click.option(
    "--samples",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="Drawn for an interval or a p-value.",
)
@click.option(
    "--fail-under", type=click.FloatRange(0, 1), help="Exit with 1 if a candidate's overall score is below this."
)
@click.option("--skip-baseline", is_flag=True, help="Add no baseline test to documents that have none.")
@click.pass_context
def bench(
    context: click.Context,
    folder: Path,
    names: tuple[str, ...],
    compat: Compat | None,
    json_out: Path | None,
    html_out: Path | None,
    max_pages: int,
    seed: int,
    samples: int,
    fail_under: float | None,
    skip_baseline: bool,
) -> None:
    """Score the candidates of an olmOCR-bench folder.

    \b
    DIR/*.jsonl                                     unit tests, a file per category
    DIR/pdfs/**/*.pdf                               the documents
    DIR/CANDIDATE/**/<stem>_pg<page>_repeat<r>.md   the outputs of a system

    A test passes if it holds in more than half of a page's repeats; without output it fails. The overall score is
    the unweighted mean over the categories. Intervals (95 %) and p-values resample pages.

    \b
    Examples:
      ocr-verify bench olmOCR-bench --html report.html
      ocr-verify bench olmOCR-bench --candidate mine --compat olmocr --fail-under 0.8
    """
    for out in (json_out, html_out):
        if out is not None and not out.parent.is_dir():
            raise RecordError(f"{out}: the folder {out.parent} does not exist")
    data = read_bench(folder, names, compat, skip_baseline)
    results = _score_pages(data, compat)
    score = sum_up(data, results, samples, seed)
    for line in _table(data, score):
        click.echo(line)
    if json_out is not None:
        settings = {"compat": compat, "seed": seed, "samples": samples}
        write_json_atomic(json_out, {"version": ocr_verifiers.__version__, **settings, **_report(data, results, score)})
    if html_out is not None:
        write_text_atomic(html_out, render_report(data, results, score, compat, max_pages))
    if fail_under is not None and any(candidate.score < fail_under for candidate in score.candidates):
        context.exit(1)


def _score_pages(data: Bench, compat: Compat | None) -> list[BenchPageResult]:
    """Every page, with a progress bar where someone watches."""
    if not sys.stderr.isatty():
        return [score_page(page, data.candidates, compat) for page in data.pages]
    with click.progressbar(data.pages, label="pages", file=sys.stderr) as pages:
        return [score_page(page, data.candidates, compat) for page in pages]


def _table(data: Bench, score: BenchScore) -> Iterator[str]:
    yield f"{data.tests} tests of {len(data.pages)} pages"
    width = max(len(name) for name in (*data.categories, *data.candidates)) + 2
    for candidate in score.candidates:
        without = len(candidate.missing)
        missing = f"   {without} page{'s' if without > 1 else ''} without output" if without else ""
        yield ""
        yield f"{candidate.name:{width}}  {_interval(candidate)}{missing}"
        for name, own in candidate.categories.items():
            yield f"  {name:{width}}{_interval(own)}   {own.passed}/{own.tests}"
    if score.comparisons:
        yield ""
        yield f"{score.candidates[0].name} is the best; behind it, with p of a paired permutation test over pages:"
        for other in score.comparisons:
            yield f"  {other.name:{width}}{other.difference:.3f}   p = {other.p:.3f}"


def _interval(score: Any) -> str:
    return f"{score.score:.3f} [{score.interval.low:.3f}, {score.interval.high:.3f}]"


def _report(data: Bench, results: Sequence[BenchPageResult], score: BenchScore) -> dict[str, Any]:
    """All that is known, as JSON: candidates best first, tests page by page."""
    return {
        "tests": data.tests,
        "pages": len(data.pages),
        "candidates": {candidate.name: _candidate(candidate) for candidate in score.candidates},
        "comparisons": [{"best": score.candidates[0].name, **other._asdict()} for other in score.comparisons],
        "verdicts": [
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
            for result in results
            for i, (category, test) in enumerate(result.page.tests)
        ],
    }


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
