"""`ocr-rl select`: which pages to transcribe next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import writable_file

if TYPE_CHECKING:
    from ocr_rl.rewards.next_pages import ChosenBy


@click.command()
@click.argument("groups", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=writable_file,
    help="Write a line per chosen page to this .jsonl file, the first to transcribe first.",
)
@click.option("--count", type=click.IntRange(min=1), required=True, help="Pages to choose.")
@click.option(
    "--by",
    type=click.Choice(["both", "disagreement", "coverage"]),
    default="both",
    show_default=True,
    help="What speaks for a page: samples that disagree, characters that the pages chosen so far lack, or both.",
)
@user_errors
def select(groups: Path, out: Path, count: int, by: ChosenBy) -> None:
    """Choose the pages in GROUPS that are worth transcribing next, from samples of a policy alone.

    GROUPS is from `ocr-rl rollout --no-score` or `ocr-rl transcribe --samples 8 --confidence`.

    \b
    {"id": "p1.png", "score": 0.81, "disagreement": 0.35, "new": "§ſ"}

    \b
    ocr-rl transcribe scans/ --samples 8 --confidence --out scans.jsonl
    ocr-rl select scans.jsonl --count 32 --out next.jsonl
    ocr-rl review scans.jsonl --only next.jsonl --html review.html
    """
    from ocr_rl.rewards.next_pages import write_next_pages

    chosen = write_next_pages(groups, out, count, by)
    click.echo(f"{chosen} pages in {out}")
