"""Groups of completions of many pages, scored as they come, in a resumable JSON Lines file: `ocr-rl rollout`."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocr_rl.config.presets import PromptFormat
from ocr_rl.data.indexed import by_id
from ocr_rl.data.unlabelled import Unread
from ocr_rl.rewards.group_files import group_row, page_row
from ocr_rl.rewards.reward_function import (
    RewardFunction,
    check_scorable,
    chosen_output,
    named_rubric,
    scoring_settings,
    try_functions,
)
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.loading import EngineOptions
from ocr_rl.rollouts.ordered import Result, in_order
from ocr_rl.rollouts.resumable import Pages, RowJob, append_rows
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.seeds import derive
from ocr_rl.types import Page


@dataclass(frozen=True, kw_only=True)
class RolloutOptions(EngineOptions):
    """What is sampled of each page, and how it is scored."""

    group_size: int = 8
    """Completions of a page, G."""
    temperature: float = 1.0
    """0 is greedy."""
    max_tokens: int = 512
    """Tokens of a completion, the end token included."""
    seed: int = 0
    score: bool = True
    """Score the completions."""
    rubric: str | None = None
    """How: a shipped rubric or a TOML file; None: as `ocr-rl train` does by default."""
    processes: int = 1
    """That score beside generation; 0 scores between completions."""
    retry_errors: bool = False
    """Try pages whose row has an "error" again."""


def write_groups(
    out: Path,
    pages: Sequence[Page],
    options: RolloutOptions,
    dataset: Mapping[str, Any] = {},
    console: Console = SILENT,
) -> int:
    """Append the scored group of each page to `out`, one per line, in page order; the number of rows with an "error".

    `rewards.group_files.group_row` says what a line holds. `dataset` says what the pages were loaded from: it is kept
    beside `out` with the options, and a later call with other ones is refused.

    Raises:
        ValueError: a page cannot be scored, or `out` was made with other settings or pages.
        EngineError: the engine cannot continue; the rows so far are kept.
    """
    rubric = named_rubric(options.rubric)
    if options.score:
        if rubric.functions and not options.processes:
            raise ValueError("--processes is 0; write at least 1: functions are run in processes with a time limit")
        check_scorable(rubric, pages)
        try_functions(rubric, pages)
    options = replace(options, output=chosen_output(rubric, options.output))
    sampling = Sampling(options.group_size, options.temperature, options.max_tokens)
    known = by_id(pages)

    asked = PromptFormat()

    def results(engine: Engine, rest: Pages, there: int) -> Generator[Result, None, None]:
        nonlocal asked
        asked = engine.prompt_format
        rewards = RewardFunction(rubric, ()).of_output(engine.output)
        scorer = GroupScorer(rewards, options.processes) if options.score else nullcontext()
        with scorer as scoring:
            yield from in_order(engine, rest, sampling, derive(options.seed, "row", there), scoring)

    def row(result: Result) -> dict[str, Any]:
        if isinstance(result, Unread):
            return page_row(known[result.id]) | {"completions": [], "error": result.why}
        return group_row(result, asked)

    job = RowJob(pages, lambda: options.load(console.say), results, row, len(pages), options.retry_errors)
    return append_rows(out, _settings(options, dataset), job, console)


def _settings(options: RolloutOptions, dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "command": "rollout",
        **options.settings(),
        **dataset,
        "group_size": options.group_size,
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
        "scored": options.score,
        **scoring_settings(options.rubric),
    }
