"""`ocr-rl data`: look at datasets, and write them in another form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocr_rl.cli.align import align
from ocr_rl.cli.convert import convert
from ocr_rl.cli.crop_options import crop_of
from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import dataset_options, json_option, parse_columns
from ocr_rl.cli.progress import progress

if TYPE_CHECKING:
    from ocr_rl.types import Page


@click.group()
def data() -> None:
    """Look at datasets, and write them in another form."""


data.add_command(convert)
data.add_command(align)


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
@click.option(
    "--no-labels", is_flag=True, help="Pages need neither a text nor tests, as for `ocr-rl train unlabelled`."
)
@click.option("--model", metavar="PATH", help="Check what this model's tokenizer can write.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="As rollout.max_tokens.")
@json_option("Write the summary and problems here.")
@user_errors
def check(
    path: str,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    level: str | None,
    cuts: tuple[str, ...],
    validation: float,
    no_labels: bool,
    model: str | None,
    max_tokens: int,
    json_path: Path | None,
) -> None:
    """Report all problems of the dataset at PATH at once, and a summary. Exit code 2 if there are problems.

    \b
    PATH is one of
      a folder of images with metadata.jsonl (rows {file_name, text, ...}) and optionally tests.jsonl
      an olmOCR-bench folder: pdfs/ and *.jsonl
      a folder of images or PDFs with .txt or .md beside them
      PAGE-XML, ALTO or hOCR with their images: a file, a METS, a folder or a zip
      a Hugging Face dataset: a save_to_disk folder, parquet, or a hub id

    \b
    ocr-rl data check scans/
    ocr-rl data check scans/ --where level=line --json report.json
    ocr-rl data check images/ --no-labels
    ocr-rl data check export.zip --level line
    ocr-rl data check scans/ --model tiny-scans --max-tokens 300
    """
    from ocr_rl.data.check import check_dataset
    from ocr_rl.data.loading import parse_filters

    report = check_dataset(
        path,
        where=parse_filters(where),
        columns=parse_columns(columns),
        split=split or "",
        crop=crop_of(level, cuts),
        validation=validation,
        labels=not no_labels,
        check_texts=None if model is None else _tokenizer_check(model, max_tokens),
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


def _tokenizer_check(model: str, max_tokens: int) -> Callable[[Sequence[Page]], list[str]]:
    from ocr_rl.config.embedded import model_folder
    from ocr_rl.config.loader import check_model_path

    check_model_path(model)
    from transformers import AutoProcessor

    from ocr_rl.models.checkpoints.vocabulary import unwritable

    try:
        processor = AutoProcessor.from_pretrained(model_folder(model))
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"--model {model}: no processor can be loaded from there: {first}") from error
    return lambda pages: unwritable(processor.tokenizer, pages, max_tokens, "rollout.max_tokens")
