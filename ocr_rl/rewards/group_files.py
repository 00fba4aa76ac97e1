"""Scored groups as JSON Lines, written and read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ocr_rl.data.problems import Location, Problem, json_lines
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.types import Completion, Group, Page


def group_row(group: ScoredGroup | Group) -> dict[str, Any]:
    """A line that `ocr-verify groups` reads, with what the engine and the rubric said of each completion."""
    scored = group if isinstance(group, ScoredGroup) else None
    group = group.group if isinstance(group, ScoredGroup) else group
    completions = group.completions
    row = page_row(group.page) | {
        "completions": [c.text for c in completions],
        "finished": [c.finished for c in completions],
        "finish_reasons": [c.finish_reason for c in completions],
        "tokens": [len(c.token_ids) for c in completions],
        "sum_logprobs": [_finite(math.fsum(c.sampling_logprobs)) for c in completions],
    }
    if scored is not None:
        row["rewards"] = list(scored.rewards)
        row["parts"] = [dict(score.parts) for score in scored.scores]
    return row


def page_row(page: Page) -> dict[str, Any]:
    """What `ocr-verify groups` wants to know of a page."""
    row: dict[str, Any] = {"id": page.id}
    if page.text is not None:
        row["reference"] = page.text
    if page.tests:
        row["tests"] = [dict(test) for test in page.tests]
    return row


def _finite(number: float) -> float | None:
    """JSON has no infinities."""
    return number if math.isfinite(number) else None


Row = Mapping[str, Any]


def _stop(problem: Problem) -> NoReturn:
    raise ValueError(str(problem))


def read_groups(
    file: Path, scores: Path | None = None, pages: Mapping[str, Page] | None = None
) -> Iterator[ScoredGroup]:
    """The lines of `ocr-rl rollout`, or those of a file for `ocr-verify groups` with the `scores` that it wrote.

    Pages without completions, which could not be read, are passed over. Without `pages`, a group's page is its id.

    Raises:
        ValueError: with file and line, for what is no scored group, or is of none of the `pages`.
    """
    scored = json_lines(scores, _stop) if scores is not None else None
    for place, row in json_lines(file, _stop):
        name = _name(row, place)
        rewards = _own_rewards(row, place) if scored is None else _told_rewards(row, place, next(scored, None))
        texts = row.get("completions")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            _stop(place.problem("completions", "must be a list of strings"))
        finished = row.get("finished")
        finished = [True] * len(texts) if finished is None else finished
        if not isinstance(finished, list) or [type(flag) for flag in finished] != [bool] * len(texts):
            _stop(place.problem("finished", "must be a list of true or false, one for each completion"))
        if len(rewards) != len(texts):
            _stop(place.problem("completions", f"are {len(texts)}, but there are {len(rewards)} rewards"))
        if not texts:
            continue
        if pages is not None and name not in pages:
            _stop(place.problem("id", f"is {name}, which is no page of the dataset"))
        page = pages[name] if pages is not None else Page(name, _no_image)
        completions = [_completion(text, whole) for text, whole in zip(texts, finished, strict=True)]
        yield ScoredGroup(Group(page, completions), (), rewards)
    if scored is not None and (more := next(scored, None)) is not None:
        _stop(more[0].problem(None, f"is of no line of {file}"))


def _own_rewards(row: Row, place: Location) -> list[float]:
    rewards = row.get("rewards", None if row.get("completions") else [])
    if rewards is None:
        score = "`ocr-verify groups FILE --json SCORES`, and give --scores SCORES"
        _stop(place.problem("rewards", f"is missing; score the completions with {score}"))
    return _numbers(rewards, place, "rewards")


def _told_rewards(row: Row, place: Location, line: tuple[Location, Row] | None) -> list[float]:
    if line is None:
        _stop(place.problem(None, "the scores end before this line; they are of another file"))
    where, score = line
    if score.get("id") != row.get("id"):
        _stop(where.problem("id", f"is {score.get('id')!r}, but {place} is of {row.get('id')!r}"))
    completions = score.get("completions")
    rewards = (
        [one.get("reward") for one in completions if isinstance(one, dict)] if isinstance(completions, list) else None
    )
    return _numbers(rewards, where, "completions")


def _numbers(rewards: object, place: Location, field: str) -> list[float]:
    if not isinstance(rewards, list) or not all(type(r) in (int, float) and math.isfinite(r) for r in rewards):
        _stop(place.problem(field, "must have a number for each completion, its reward"))
    return [float(reward) for reward in rewards]


def _name(row: Row, place: Location) -> str:
    name = row.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        _stop(place.problem("id", "must be the page's name"))
    return str(name)


def _completion(text: str, finished: bool) -> Completion:
    """Without tokens: a file holds text."""
    return Completion((), text, "end" if finished else "length", ())


def _no_image() -> NoReturn:
    raise AssertionError("this page came without its dataset")
