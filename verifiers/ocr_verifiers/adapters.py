"""Reward functions for other trainers, TRL and verl, from the same rubrics. Neither library is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.rewards.groups import Group, parse_tests, score_groups
from ocr_verifiers.rewards.rubric import PreparedReference, Rubric
from ocr_verifiers.rewards.scoring_pool import ScoringPool
from ocr_verifiers.unit_tests.records import UnitTest

PAGES = 1024
"""How many pages' prepared references and tests verl's function caches."""

Column = Sequence[Any]


def trl_reward(
    rubric: Rubric | None = None,
    *,
    end_token_ids: Collection[int] = (),
    processes: int = 0,
    timeout: float | None = None,
) -> Callable[..., list[float | None]]:
    """A function for `reward_funcs` of TRL's GRPOTrainer; it reads the dataset's columns `reference` and `tests`.

    `reference` is a text or null. `tests` is a list of olmOCR-bench records, or that list as JSON; a null field counts
    as left out, because a dataset gives every record the fields of all others. A row with neither reference nor tests
    gets the reward None, which TRL leaves to its other reward functions. A completion whose last token is not in
    `end_token_ids` was cut off; if `end_token_ids` is empty, all completions count as finished. TRL logs the mean of
    each part. `processes` and `timeout` are passed to `ScoringPool`; with neither, this process does the scoring.
    """
    rubric = rubric or Rubric()
    parallel = bool(processes or timeout)
    score = ScoringPool(rubric, processes or 1, timeout).score_groups if parallel else partial(score_groups, rubric)

    def ocr_reward(
        prompts: Column,
        completions: Column,
        completion_ids: Column = (),
        reference: Column | None = None,
        tests: Column | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        def finished(row: int) -> bool:
            return not end_token_ids or completion_ids[row][-1] in end_token_ids

        nothing = [None] * len(completions)
        groups = _as_groups(rubric, completions, finished, reference or nothing, tests or nothing)
        rewards: list[float | None] = [None] * len(completions)
        parts: dict[str, list[float]] = {}
        for group, scores in score(groups):
            for row, found in zip(groups[group], scores, strict=True):
                rewards[row] = found.reward
                for name, value in found.parts.items():
                    parts.setdefault(name, []).append(value)
        for name, values in parts.items():
            if log_metric is not None:
                log_metric(f"ocr/{name}", sum(values) / len(values))
        return rewards

    return ocr_reward


def verl_compute_score(rubric: Rubric | None = None) -> Callable[..., float]:
    """A `compute_score` for verl's reward managers.

    `ground_truth` is the reference text or None; `extra_info["tests"]` has the unit tests, as in `trl_reward`. verl
    does not say whether a completion was cut off, so all count as finished. A page that cannot be scored raises
    ValueError: verl has no notion of a missing reward.
    """
    rubric = rubric or Rubric()

    @lru_cache(maxsize=PAGES)
    def prepare(reference: str | None, records: str) -> PreparedReference:
        return rubric.prepare(reference, _parse(records, "extra_info", rubric))

    def compute_score(
        data_source: str,
        solution_str: str,
        ground_truth: str | None,
        extra_info: dict[str, Any] | None = None,
        **options: Any,
    ) -> float:
        return prepare(ground_truth, _as_json((extra_info or {}).get("tests"))).score(solution_str).reward

    return compute_score


compute_score = verl_compute_score()
"""With the default rubric: what verl loads from `pkg://ocr_verifiers.adapters` by this name."""


def _as_groups(
    rubric: Rubric, completions: Column, finished: Callable[[int], bool], reference: Column, tests: Column
) -> dict[Group, list[int]]:
    """The rows of each page as a group, with their numbers; without rows that have neither reference nor tests."""
    pages: dict[tuple[str | None, str], list[int]] = {}
    for row, page in enumerate(zip(reference, map(_as_json, tests), strict=True)):
        pages.setdefault(page, []).append(row)
    groups: dict[Group, list[int]] = {}
    for (text, records), rows in pages.items():
        where = f"row {rows[0] + 1}"
        parsed = _parse(records, where, rubric)
        if text is not None or parsed:
            texts = tuple(_text(completions[row]) for row in rows)
            groups[Group(where, rows[0], text, parsed, texts, tuple(map(finished, rows)))] = rows
    return groups


def _as_json(records: str | Iterable[dict[str, Any]] | None) -> str:
    """A row's tests as text, which is hashable. Datasets in Parquet give numpy arrays, which become lists."""
    if isinstance(records, str):
        return records
    return json.dumps([] if records is None else list(records))


def _parse(records: str, where: str, rubric: Rubric) -> tuple[UnitTest, ...]:
    """The tests that this rubric runs."""
    try:
        rows = json.loads(records or "[]")
    except ValueError as error:
        raise RecordError(f'{where}: "tests" is not JSON: {error}') from error
    if isinstance(rows, list):
        rows = [
            {name: value for name, value in row.items() if value is not None} if isinstance(row, dict) else row
            for row in rows
        ]
    tests = parse_tests(rows, where, rubric.compat)
    return tests if rubric.compat else tuple(test for test in tests if not test.rejected)


def _text(completion: str | Sequence[dict[str, Any]]) -> str:
    """The policy's last message: a completion is a text, or a list of messages whose content is a text or blocks."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)
