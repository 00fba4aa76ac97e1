"""`ocr-rl rollout`: groups of completions of every page of a dataset, scored as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.errors import fail_if_unread, stoppable, user_errors
from ocr_rl.cli.options import (
    DatasetOptions,
    dataset_options,
    engine_option,
    model_options,
    on_error_option,
    retry_errors_option,
    rubric_option,
    take,
    workers_option,
    writable_file,
)
from ocr_rl.cli.progress import console


@click.command()
@click.argument("model")
@click.option("--data", required=True, metavar="PATH", help="Folder, file or hub id of a dataset.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=writable_file,
    help="Write a line per page to this .jsonl file.",
)
@dataset_options
@on_error_option
@click.option("--limit", type=click.IntRange(min=1), help="Roll out the first N pages.")
@click.option("--group-size", type=click.IntRange(min=1), default=8, show_default=True, help="Completions per page.")
@click.option("--temperature", type=click.FloatRange(min=0), default=1.0, show_default=True, help="0 is greedy.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="Maximum tokens of a completion."
)
@click.option("--seed", default=0, show_default=True, help="Seed of sampling.")
@engine_option
@workers_option
@retry_errors_option
@rubric_option
@click.option("--no-score", is_flag=True, help="Do not score the completions.")
@click.option(
    "--processes",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Processes that score during generation; 0 scores between completions.",
)
@model_options
@user_errors
def rollout(out: Path, limit: int | None, no_score: bool, **options: Any) -> None:
    """Sample a group of completions of each page with MODEL, and score them as `ocr-rl train` does.

    \b
    {"id": "p1.png", "reference": "...", "tests": [{...}], "completions": ["...", "..."], "finished": [true, false],
     "finish_reasons": ["end", "length"], "tokens": [31, 512], "sum_logprobs": [-4.2, -95.1],
     "rewards": [0.93, 0.11], "parts": [{"similarity": 0.97, ...}, {...}]}                 a line per page, in order

    `ocr-verify groups` reads these lines too. The same command continues where it was stopped or killed. A page
    that cannot be read has an "error" and no completions; the exit code is then 1.

    \b
    ocr-rl rollout tiny-scans --data data/sample --out groups.jsonl
    ocr-rl rollout org/vlm --data scans/ --where language=en --group-size 16 --out groups.jsonl
    ocr-rl rollout runs/a/checkpoints/step_000060 --data scans/ --no-score --out groups.jsonl
    """
    from ocr_rl.rollouts.group_output import RolloutOptions, write_groups

    dataset = take(DatasetOptions, options)
    chosen = RolloutOptions(score=not no_score, **options)
    pages = dataset.load(out)[:limit]
    with stoppable():
        unread = write_groups(out, pages, chosen, dataset.settings(), console())
    fail_if_unread(unread, f"; see the rows with an error in {out}")
