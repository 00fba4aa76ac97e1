"""`ocr-verify bench` for a file of OmniDocBench."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ocr_verifiers.bench.omnidocbench import OmniDocBenchScore, omnidocbench_report, score_omnidocbench
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.files.jsonl import write_json_atomic
from ocr_verifiers.markup import katex
from ocr_verifiers.metrics.omnidocbench.reference import Version

NAMED = 10
"""Files that are named in a line."""
COLUMNS = (
    "text_edit",
    "formula_edit",
    "formula_cdm",
    "table_edit",
    "table_teds",
    "table_teds_s",
    "order_edit",
    "overall",
)


def bench_omnidocbench(
    pages: Path, predictions: Path, version: Version, json_out: Path | None, fail_under: float | None
) -> None:
    """Scores the transcriptions, prints the table, and exits with 1 if the overall score is too low.

    Raises ValueError before anything is written, if an overall score is to be judged that is not known.
    """
    score = score_omnidocbench(pages, predictions, progress, version)
    overall = score.summaries["all"].overall
    if fail_under is not None and overall is None:
        raise ValueError(f"--fail-under cannot be judged: {_unknown(score)}, or leave --fail-under out")
    for line in _table(score):
        click.echo(line)
    if json_out is not None:
        write_json_atomic(json_out, {"matching": version} | omnidocbench_report(score))
    if fail_under is not None and overall is not None and overall < fail_under:
        raise click.exceptions.Exit(1)


def _unknown(score: OmniDocBenchScore) -> str:
    """Why there is no overall score, and what to do."""
    if _lacks_cdm(score):
        return (
            "the overall score has the CDM of formulas, which needs a JavaScript engine; install it, "
            "pip install 'ocr-rl[math]'"
        )
    if score.summaries["all"].formula_edit is not None:
        return (
            "the overall score has the CDM of formulas, and none of the reference's can be rendered; "
            'correct their "latex"'
        )
    return "the reference has no text, formula or table that counts; add one"


def _lacks_cdm(score: OmniDocBenchScore) -> bool:
    """Whether there are formulas, and nothing that renders them."""
    return score.summaries["all"].formula_edit is not None and not katex.installed()


def _table(score: OmniDocBenchScore) -> Iterator[str]:
    summaries = score.summaries
    width = max(map(len, summaries))
    yield f"{'':{width}}  pages  {'  '.join(f'{name:>12}' for name in COLUMNS)}"
    for name, each in summaries.items():
        values = [getattr(each, column) for column in COLUMNS]
        written = "  ".join(f"{'-' if value is None else f'{value:.4f}':>12}" for value in values)
        yield f"{name:{width}}  {each.pages:5}  {written}"
    if _lacks_cdm(score):
        yield "formula_cdm, and with formulas overall, need a JavaScript engine: pip install 'ocr-rl[math]'"
    kinds = score.categories
    width = max(map(len, kinds), default=0)
    yield ""
    yield f"{'':{width}}  blocks          edit"
    for kind, category in kinds.items():
        yield f"{kind:{width}}  {category.blocks:6}  {category.edit:12.4f}"
    yield from _names("pages without a transcription, which count as empty", score.missing)
    yield from _names("files that are the transcription of no page", score.unused)


def _names(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        shown = ", ".join(names[:NAMED])
        yield f"{what}: {len(names)}: {shown}" + (", ...; --json writes all" if len(names) > NAMED else "")
