"""`ocr-verify score`: scores a file of transcriptions against references and unit tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.cli.format_option import format_option
from ocr_verifiers.cli.number_options import Share, timeout_option
from ocr_verifiers.cli.output_option import FileCommand, OutputFile
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.cli.text_options import text_options
from ocr_verifiers.files.jsonl import write_json_atomic
from ocr_verifiers.files.writable import refuse_overwriting
from ocr_verifiers.rewards.predictions import PredictionOptions, score_predictions
from ocr_verifiers.text.edit_distance import UNITS


@click.command(cls=FileCommand)
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--references", required=True, type=click.Path(path_type=Path), help="JSON Lines of true transcriptions.")
@click.option(
    "--tests",
    type=click.Path(path_type=Path),
    help="JSON Lines of olmOCR-bench unit tests.  [default: tests.jsonl beside the references, if it exists]",
)
@click.option("--json", "out", type=OutputFile(), help="Write totals and every page's scores here.")
@click.option(
    "--unit",
    type=click.Choice(UNITS),
    default=UNITS[0],
    show_default=True,
    help="What CER counts as a character.",
)
@text_options
@click.option("--compat", type=click.Choice(["olmocr"]), help="Reproduce olmOCR-bench's own verdicts, holes included.")
@format_option
@timeout_option
@click.option("--fail-under", type=Share(), metavar="RATE", help="Exit code 1 if fewer tests pass.")
def score(out: Path | None, fail_under: float | None, **options: Any) -> None:
    """Score the transcriptions in PREDICTIONS.

    \b
    PREDICTIONS  {"file_name": "p1.png", "text": "..."}                   one object per line;
    references   {"file_name": "p1.png", "text": "...", "source": "..."}   "id" may stand for "file_name"
    tests        {"pdf": "p1.png", "page": 1, "id": "...", "type": "present", "text": "..."}

    Page n of a PDF is the row named file.pdf#n; page 1 may be file.pdf. A reference row without "text" has only
    tests. Pages that have a prediction are scored. CER and WER are pooled: all edits divided by the length of all
    references, after --normalization.

    \b
    Examples:
      ocr-verify score tesseract.jsonl --references metadata.jsonl
      ocr-verify score model.jsonl --references metadata.jsonl --tests tests.jsonl --json scores.json
      ocr-verify score model.jsonl --references metadata.jsonl --normalization nfc,long_s,whitespace
    """
    chosen = PredictionOptions(**options)
    refuse_overwriting([out], [path for path in (chosen.tests_file,) if path])
    report = score_predictions(chosen, progress)
    for line in _table(report):
        click.echo(line)
    if out is not None:
        write_json_atomic(out, report)
    rate = report["totals"]["pass_rate"]
    if fail_under is not None and (rate is None or rate < fail_under):
        raise click.exceptions.Exit(1)


def _table(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"{report['predictions']} of {report['references']} references have a prediction"
    rows = {**report["by_source"], "all": report["totals"]}
    width = max(map(len, rows))
    yield ""
    yield f"{'':{width}}      n    CER    WER  similarity    exact    tests passed"
    for name, t in rows.items():
        exact = f"{t['exact']}/{t['with_reference']}" if t["with_reference"] else "-"
        yield (
            f"{name:{width}}  {t['n']:5}  {_number(t['cer'])}  {_number(t['wer'])}"
            f"       {_number(t['similarity'])}  {exact:>7}    {_rate(t)}"
        )
    if report["by_kind"]:
        yield ""
        yield "tests passed, by kind"
    for kind, t in report["by_kind"].items():
        yield f"  {kind:<10}{_rate(t)}"
    for key, how in (("loops", "repeat themselves word by word"), ("compresses", "repeat themselves with variations")):
        if names := [page["file_name"] for page in report["pages"] if page[key]]:
            yield f"pages that {how}: {len(names)}, such as {names[0]}"
    if report["pages_without_scores"]:
        yield f"pages with neither text nor tests: {len(report['pages_without_scores'])}"
    if late := report.get("too_late"):
        yield f"pages that took too long, whose tests failed and which CER leaves out: {', '.join(late)}"
    if malformed := report.get("malformed"):
        name, why = next(iter(malformed.items()))
        pages = f"{len(malformed)} of {report['predictions']} pages are not valid {report['output']}"
        yield f"{pages} and are scored as they stand, such as {name}: {why}"


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.3f}"


def _rate(totals: Mapping[str, Any]) -> str:
    return f"{totals['passed']}/{totals['tests']} ({totals['pass_rate']:.3f})" if totals["tests"] else "-"
