"""`ocr-rl review`: transcriptions to correct, the least sure first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import writable_file
from ocr_rl.cli.progress import console

LIMIT = 200
"""Pages that are shown if nothing says how many."""


@click.command()
@click.argument("rows", metavar="OUT.jsonl", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--html",
    "html_path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=writable_file,
    help="Write the page here.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    help="Where the images are.  [default: what OUT.jsonl was transcribed from]",
)
@click.option(
    "--only",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only the pages that this file of ocr-rl select names, in its order.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="The first N of these pages.  [default: 200, with --only all]"
)
@user_errors
def review(rows: Path, html_path: Path, data: Path | None, only: Path | None, limit: int | None) -> None:
    """Write the transcriptions of OUT.jsonl into one HTML file to correct them in, the least sure first.

    OUT.jsonl is what `ocr-rl transcribe --samples 8 --confidence` wrote. Each image is beside its text, doubtful
    characters are marked, and other readings of the samples are a key away. "Save corrections" saves the accepted pages
    as a .jsonl dataset with their images, which `ocr-rl train --data` reads.

    \b
    ocr-rl transcribe scans/ --samples 8 --confidence --out scans.jsonl
    ocr-rl review scans.jsonl --html review.html
    ocr-rl train few --data scans.corrections.jsonl --column id=id
    """
    from ocr_rl.evaluation.review import Row, chosen_rows, review_rows
    from ocr_rl.reporting.review import least_sure_first, review_page
    from ocr_rl.runs.atomic import write_atomically

    def choose(every: Sequence[Row]) -> Sequence[Row]:
        if only is not None:
            return chosen_rows(every, only)[:limit]
        return least_sure_first(every)[: limit or LIMIT]

    found, pages = review_rows(rows, data, choose, console())
    write_atomically(html_path, review_page(found, pages, rows.name))
    click.echo(f"{len(found)} pages in {html_path}")
