"""`ocr-rl merge`: a run or an adapter becomes a plain checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import DatasetOptions, dataset_options, on_error_option, published_options, take
from ocr_rl.cli.progress import console


@click.command()
@click.argument("source")
@published_options
@click.option("--accept-differences", is_flag=True, help="Write the folder however differently it reads.")
@click.option("--data", metavar="PATH", help="Check with these pages.  [default: those that the run holds out]")
@dataset_options
@on_error_option
@click.option("--prompt", default="", help="Instruction for pages that have none.")
@user_errors
def merge(source: str, out: Path, **options: Any) -> None:
    """Write SOURCE, a run, a checkpoint or a LoRA adapter, as a plain checkpoint with processor and chat template.

    A run means its best checkpoint if it keeps one, otherwise its newest. Ten pages are read with SOURCE and with what
    is written. Merged in float32, each page must be read as before, token by token. Rounding to --dtype is a warning
    with the pages and characters that it changes; nothing is written where these are more than 2 % of the characters.
    An adapter that was trained with model.quantize goes into the unquantised base: what that changes is a warning.
    README.md in the folder is the model card.

    \b
    ocr-rl merge runs/a --out reader
    ocr-rl merge runs/a/checkpoints/step_000040 --out reader
    ocr-rl merge adapter/ --data scans/ --out reader --dtype float32
    """
    from ocr_rl.publishing import merge as merging
    from ocr_rl.publishing.packaging import name_of

    dataset = take(DatasetOptions, options)
    chosen = merging.MergeOptions(**options)
    merged = merging.merge(source, out, chosen, dataset.load() if dataset.data else (), console())
    click.echo(f"{merged.source.checkpoint} -> {out}, {name_of(merged.dtype)}")
    click.echo(merging.check_line(merged))
    for one in merged.written.differences:
        click.echo(f"{one.page}: {one.expected!r} became {one.found!r}")
    for warning in merging.warnings(merged):
        click.echo(f"warning: {warning}", err=True)
