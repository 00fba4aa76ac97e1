"""`ocr-verify bench`: scores the candidates of an olmOCR-bench folder, or transcriptions of OmniDocBench."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ocr_verifiers.bench.report import render_report
from ocr_verifiers.bench.run import (
    BenchOptions,
    BenchRun,
    empty_page_shares,
    json_report,
    malformed_outputs,
    run_bench,
    score_without,
)
from ocr_verifiers.bench.scoring import CandidateScore, CategoryScore
from ocr_verifiers.cli.format_option import format_option
from ocr_verifiers.cli.number_options import Share
from ocr_verifiers.cli.omnidocbench import bench_omnidocbench
from ocr_verifiers.cli.output_option import FileCommand, OutputFile
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.files.jsonl import write_json_atomic, write_text_atomic
from ocr_verifiers.metrics.omnidocbench.reference import Version


@click.command(cls=FileCommand)
@click.argument("folder", metavar="DIR_OR_JSON", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--predictions",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With a JSON file of OmniDocBench: the transcriptions, <image>.md.",
)
@click.option(
    "--matching",
    type=click.Choice(["v1.5", "v1.6"]),
    default="v1.5",
    show_default=True,
    help="With a JSON file of OmniDocBench: the version whose blocks, matching and normal forms are used.",
)
@click.option("--candidate", "candidates", multiple=True, metavar="NAME", help="Only this candidate; may be repeated.")
@click.option("--compat", type=click.Choice(["olmocr"]), help="olmOCR's own verdicts, holes included.")
@format_option
@click.option("--json", "json_out", type=OutputFile(), help="Write scores and every verdict here.")
@click.option("--html", "html_out", type=OutputFile(), help="Write a self-contained report here.")
@click.option("--max-pages", type=click.IntRange(1), default=60, show_default=True, help="Pages in the report.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="For intervals and p-values.")
@click.option(
    "--samples",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="For each interval and each p-value.",
)
@click.option("--fail-under", type=Share(), help="Exit with 1 if a candidate's overall score is below this.")
@click.option("--skip-baseline", is_flag=True, help="Add no baseline test to documents that have none.")
def bench(
    folder: Path,
    predictions: Path | None,
    matching: Version,
    json_out: Path | None,
    html_out: Path | None,
    max_pages: int,
    fail_under: float | None,
    **options: Any,
) -> None:
    """Score the candidates of an olmOCR-bench folder, or transcriptions of OmniDocBench.

    \b
    DIR/*.jsonl                                     unit tests, a file per category
    DIR/pdfs/**/*.pdf                               the documents
    DIR/CANDIDATE/**/<stem>_pg<page>_repeat<r>.md   the outputs of a system

    A test passes if it passes on more than half of a page's repeats; without output it fails. The overall score is
    the unweighted mean over the categories. Intervals (95 %) and p-values resample pages.

    \b
    Examples:
      ocr-verify bench olmOCR-bench --html report.html
      ocr-verify bench olmOCR-bench --candidate mine --compat olmocr --fail-under 0.8
      ocr-verify bench OmniDocBench.json --predictions mine --json scores.json
    """
    if folder.is_file():
        _refuse_options(
            {"folder", "predictions", "matching", "json_out", "fail_under"}, "of olmOCR-bench, and has no effect here"
        )
        if predictions is None:
            raise ValueError(f"{folder} is a file; with one of OmniDocBench, write --predictions FOLDER")
        bench_omnidocbench(folder, predictions, matching, json_out, fail_under)
        return
    if click.get_current_context().get_parameter_source("matching") is ParameterSource.COMMANDLINE:
        raise ValueError(f"--matching needs a JSON file of OmniDocBench, and {folder} is a folder")
    if predictions is not None:
        raise ValueError(f"--predictions needs a JSON file of OmniDocBench, and {folder} is a folder")
    run = run_bench(BenchOptions(folder, **options), progress)
    for line in _table(run):
        click.echo(line)
    if json_out is not None:
        write_json_atomic(json_out, json_report(run))
    if html_out is not None:
        write_text_atomic(html_out, render_report(run, max_pages))
    if fail_under is not None and any(candidate.score < fail_under for candidate in run.score.candidates):
        raise click.exceptions.Exit(1)


def _refuse_options(usual: set[str], why: str) -> None:
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if name not in usual and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ValueError(f"{option.opts[0]} is {why}")


def _table(run: BenchRun) -> Iterator[str]:
    bench, score = run.bench, run.score
    yield f"{bench.tests} tests of {len(bench.pages)} pages"
    width = max(len(name) for name in (*bench.categories, *bench.candidates)) + 2
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
    if empty := empty_page_shares(run):
        named = ", ".join(f"{share:.0%} of {name}" for name, share in empty.items())
        yield ""
        yield f"warning: a page without any text passes {named}; the scores without:"
        for candidate in score.candidates:
            without_empty = score_without(candidate, empty)
            yield f"  {candidate.name:{width}}{'-' if without_empty is None else f'{without_empty:.3f}'}"
    if malformed := malformed_outputs(run):
        outputs = sum(len(problems) for result in run.results for problems in result.malformed.values())
        invalid = f"{len(malformed)} of {outputs} outputs are not valid {run.options.output}"
        yield ""
        yield f"{invalid} and are scored as they stand, such as"
        yield "  {candidate}, {pdf}, page {page}: {why}".format_map(malformed[0])


def _interval(score: CandidateScore | CategoryScore) -> str:
    return f"{score.score:.3f} [{score.interval.low:.3f}, {score.interval.high:.3f}]"
