"""`ocr-rl data`: look at datasets."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import dataset_options, json_option, parse_columns
from ocr_rl.cli.progress import progress


@click.group()
def data() -> None:
    """Look at datasets."""


@data.command()
@click.argument("path")
@dataset_options
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of held-out pages, for the check of shared text.",
)
@json_option("Write the summary and problems here.")
@user_errors
def check(
    path: str,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    validation: float,
    json_path: Path | None,
) -> None:
    """Report all problems of the dataset at PATH at once, and a summary. Exit code 2 if there are problems.

    \b
    PATH is one of
      a folder of images with metadata.jsonl (rows {file_name, text, ...}) and optionally tests.jsonl
      an olmOCR-bench folder: pdfs/ and *.jsonl
      a folder of images or PDFs with .txt or .md beside them
      a Hugging Face dataset: a save_to_disk folder, parquet, or a hub id

    \b
    ocr-rl data check scans/
    ocr-rl data check scans/ --where level=line --json report.json
    """
    from ocr_rl.data.check import check_dataset
    from ocr_rl.data.loading import parse_filters

    report = check_dataset(
        path,
        where=parse_filters(where),
        columns=parse_columns(columns),
        split=split or "",
        validation=validation,
        progress=progress("checking"),
    )
    click.echo(report.render())
    if json_path is not None:
        from ocr_verifiers import write_json_atomic

        problems = {
            "problems": [str(p) for p in report.problems],
            "warnings": [str(p) for p in report.warnings],
        }
        write_json_atomic(json_path, dict(report.summary) | problems)
    if report.problems:
        sys.exit(2)
