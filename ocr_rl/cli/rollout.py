"""`ocr-rl rollout`: groups of completions of every page of a dataset, scored as they come."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.loading import engine_option, load_engine
from ocr_rl.cli.options import dataset_options, folder_exists, model_options, parse_columns
from ocr_rl.cli.resumable import Pages, data_settings, model_settings, run_into

if TYPE_CHECKING:
    from ocr_rl.rollouts.engine import Engine
    from ocr_rl.rollouts.ordered import Result


@click.command()
@click.argument("model")
@click.option("--data", required=True, metavar="PATH", help="Folder, file or hub id of a dataset.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=folder_exists,
    help="Write a line per page to this .jsonl file.",
)
@dataset_options
@click.option("--limit", type=click.IntRange(min=1), help="Roll out the first N pages.")
@click.option("--group-size", type=click.IntRange(min=1), default=8, show_default=True, help="Completions of a page.")
@click.option("--temperature", type=click.FloatRange(min=0), default=1.0, show_default=True, help="0 is greedy.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="Tokens of a completion."
)
@click.option("--seed", default=0, show_default=True, help="Of sampling.")
@engine_option
@click.option("--no-score", is_flag=True, help="Leave rewards out.")
@click.option(
    "--processes",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="That score beside generation; 0 scores between completions.",
)
@model_options
@user_errors
def rollout(
    model: str,
    data: str,
    out: Path,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    limit: int | None,
    group_size: int,
    temperature: float,
    max_tokens: int,
    seed: int,
    engine: str,
    no_score: bool,
    processes: int,
    max_pixels: int,
    prompt: str,
    trust_remote_code: bool,
) -> None:
    """Sample a group of completions of each page with MODEL, and score them as `ocr-rl train` does.

    \b
    {"id": "p1.png", "reference": "...", "tests": [{...}], "completions": ["...", "..."], "finished": [true, false],
     "finish_reasons": ["end", "length"], "tokens": [31, 512], "sum_logprobs": [-4.2, -95.1],
     "rewards": [0.93, 0.11], "parts": [{"similarity": 0.97, ...}, {...}]}                 a line per page, in order

    `ocr-verify groups` reads these lines too. The same command goes on where it was stopped or killed. A page that
    cannot be read has no completions and an "error"; the exit code is 1 then.

    \b
    ocr-rl rollout tiny --data data/sample --out groups.jsonl
    ocr-rl rollout org/vlm --data scans/ --where language=en --group-size 16 --out groups.jsonl
    ocr-rl rollout runs/a/checkpoints/step_000060 --data scans/ --no-score --out groups.jsonl
    """
    from ocr_rl.config.loader import check_model_path

    check_model_path(model)

    from ocr_rl.config.schema import RewardConfig
    from ocr_rl.data.loading import load_pages, parse_filters
    from ocr_rl.rewards.reward_function import RewardFunction, check_scorable, make_rubric

    filters, names = parse_filters(where), parse_columns(columns)
    pages = load_pages(data, where=filters, prompt=prompt, columns=names, split=split or "train")[:limit]
    rubric = make_rubric(RewardConfig())
    if not no_score:
        check_scorable(rubric, pages)

    from ocr_rl.data.unlabelled import Unread
    from ocr_rl.rewards.group_files import group_row, page_row
    from ocr_rl.rollouts.engine import Sampling
    from ocr_rl.rollouts.ordered import in_order
    from ocr_rl.rollouts.scoring import GroupScorer

    sampling = Sampling(group_size, temperature, max_tokens)
    settings = {
        "command": "rollout",
        **model_settings(model, max_pixels),
        "engine": engine,
        "data": data_settings(data),
        "where": filters,
        "columns": names,
        "split": split,
        "prompt": prompt,
        "group_size": group_size,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "seed": seed,
        "scored": not no_score,
    }
    by_id = {page.id: page for page in pages}

    def results(loaded: Engine, rest: Pages, there: int) -> Generator[Result, None, None]:
        with nullcontext() if no_score else GroupScorer(RewardFunction(rubric, ()), processes) as scorer:
            yield from in_order(loaded, rest, sampling, seed * 1_000_003 + there, scorer)

    def row(result: Result) -> dict[str, Any]:
        if isinstance(result, Unread):
            return page_row(by_id[result.id]) | {"completions": [], "error": result.why}
        return group_row(result)

    load = partial(load_engine, model, max_pixels, trust_remote_code, engine)
    run_into(out, settings, pages, load, results, row, len(pages))
