"""`ocr-rl probe`: which pages of a rollout are worth training on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import groups_argument, scores_option, writable_file

if TYPE_CHECKING:
    from ocr_rl.rewards.probe import By


@click.command()
@groups_argument
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=writable_file,
    help="Write a line per page that is kept to this .jsonl file.",
)
@click.option(
    "--keep",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of the pages to keep.",
)
@click.option(
    "--by",
    type=click.Choice(["headroom", "spread", "entropy"]),
    default="headroom",
    show_default=True,
    help="What ranks pages: (best - mean reward) exp(entropy + 2 variance); the rewards' standard deviation; or the "
    "entropy of the policy's tokens.",
)
@scores_option
@user_errors
def probe(groups: Path, out: Path, keep: float, by: By, scores: Path | None) -> None:
    """Rank the pages in GROUPS, from `ocr-rl rollout`, by what a policy can learn from them, and keep a share.

    \b
    {"id": "p1.png", "score": 0.31, "mean": 0.62, "best": 0.91, "spread": 0.12, "entropy": 0.2}

    Pages whose completions all have the same reward are never kept. `ocr-rl train` reads the file as data.only; the
    held-out pages stay. The rollout continues where it was stopped or killed, and this takes seconds.

    \b
    ocr-rl rollout org/vlm --data scans/ --group-size 16 --out groups.jsonl
    ocr-rl probe groups.jsonl --keep 0.5 --out kept.jsonl
    ocr-rl train --data scans/ --model org/vlm --set data.only=kept.jsonl
    """
    from ocr_rl.rewards.probe import write_probe

    counts = write_probe(groups, out, by, keep, scores)
    click.echo(f"{counts.kept} of {counts.pages} pages in {out}; {counts.alike} have completions of one reward alone")
