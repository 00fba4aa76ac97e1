"""Writes groups as JSON Lines, and reads scored groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ocr_rl.config.presets import PromptFormat
from ocr_rl.data.problems import Location, Problem, json_lines
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.types import Completion, Group, Page


def group_row(group: ScoredGroup | Group, asked: PromptFormat = PromptFormat()) -> dict[str, Any]:
    """A line that `ocr-verify groups` reads, with what the engine and the rubric say about each completion.

    `prompt` is the conversation that the policy was asked with, unless that is the page alone.
    """
    scored = group if isinstance(group, ScoredGroup) else None
    group = group.group if isinstance(group, ScoredGroup) else group
    completions = group.completions
    messages = asked.messages(group.page.prompt)
    prompt = {} if messages == PAGE_ALONE else {"prompt": messages}
    row = (
        page_row(group.page)
        | prompt
        | {
            "completions": [c.text for c in completions],
            "finished": [c.finished for c in completions],
            "finish_reasons": [c.finish_reason for c in completions],
            "tokens": [len(c.token_ids) for c in completions],
            "sum_logprobs": [_finite(math.fsum(c.sampling_logprobs)) for c in completions],
        }
    )
    if scored is not None:
        row["rewards"] = list(scored.rewards)
        row["parts"] = [dict(score.parts) for score in scored.scores]
        if any(score.malformed for score in scored.scores):
            row["malformed"] = [score.malformed for score in scored.scores]
    return row


PAGE_ALONE = PromptFormat().messages()


def page_row(page: Page) -> dict[str, Any]:
    """The columns of a page that `ocr-verify groups` reads."""
    row: dict[str, Any] = {"id": page.id}
    if page.text is not None:
        row["reference"] = page.text
    if page.tests:
        row["tests"] = [dict(test) for test in page.tests]
    return row


def _finite(number: float) -> float | None:
    """None for what JSON cannot hold: infinities and NaN."""
    return number if math.isfinite(number) else None


Row = Mapping[str, Any]


def fail_at(problem: Problem) -> NoReturn:
    raise ValueError(str(problem))


@dataclass(frozen=True)
class GroupOfFile(ScoredGroup):
    """A line of a file of groups."""

    prompt: Sequence[Any] = ()
    """The conversation that the policy was asked with; empty if the line does not say."""


def read_groups(
    file: Path, scores: Path | None = None, pages: Mapping[str, Page] | None = None
) -> Iterator[GroupOfFile]:
    """Groups from the output of `ocr-rl rollout`, or from any input of `ocr-verify groups` and the `scores` it wrote.

    Lines without completions, whose pages could not be read, are skipped. Without `pages`, a page has only its id.

    Raises:
        ValueError: with file and line, if a line is not a scored group, or its page is not one of `pages`.
    """
    scored = json_lines(scores, fail_at) if scores is not None else None
    for place, row in json_lines(file, fail_at):
        name = page_name(row, place)
        rewards = _own_rewards(row, place) if scored is None else _rewards_of_scores(row, place, next(scored, None))
        texts = row.get("completions")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            fail_at(place.problem("completions", "must be a list of strings"))
        finished = row.get("finished")
        finished = [True] * len(texts) if finished is None else finished
        if not isinstance(finished, list) or [type(flag) for flag in finished] != [bool] * len(texts):
            fail_at(place.problem("finished", "must be a list of true or false, one for each completion"))
        if len(rewards) != len(texts):
            fail_at(place.problem("completions", f"has {len(texts)}, but there are {len(rewards)} rewards"))
        if not texts:
            continue
        if pages is not None and name not in pages:
            fail_at(place.problem("id", f"is {name}, which is not a page of the dataset"))
        page = pages[name] if pages is not None else Page(name, _no_image)
        completions = [text_completion(text, ended) for text, ended in zip(texts, finished, strict=True)]
        yield GroupOfFile(Group(page, completions), (), rewards, _prompt(row, place))
    if scored is not None and (more := next(scored, None)) is not None:
        fail_at(more[0].problem(None, f"has no line in {file}"))


def _prompt(row: Row, place: Location) -> list[Any]:
    prompt = row.get("prompt", [])
    if not isinstance(prompt, list) or not all(isinstance(one, dict) for one in prompt):
        fail_at(place.problem("prompt", "must be a conversation, a list of messages, as `ocr-rl rollout` writes it"))
    return prompt


def _own_rewards(row: Row, place: Location) -> list[float]:
    rewards = row.get("rewards", None if row.get("completions") else [])
    if rewards is None:
        score = "`ocr-verify groups FILE --json SCORES`, and give --scores SCORES"
        fail_at(place.problem("rewards", f"is missing; score the completions with {score}"))
    return _numbers(rewards, place, "rewards")


def _rewards_of_scores(row: Row, place: Location, line: tuple[Location, Row] | None) -> list[float]:
    if line is None:
        fail_at(place.problem(None, "the scores end before this line; they belong to another file"))
    where, score = line
    if score.get("id") != row.get("id"):
        fail_at(where.problem("id", f"is {score.get('id')!r}, but {place} has {row.get('id')!r}"))
    completions = score.get("completions")
    rewards = (
        [one.get("reward") for one in completions if isinstance(one, dict)] if isinstance(completions, list) else None
    )
    return _numbers(rewards, where, "completions")


def _numbers(rewards: object, place: Location, field: str) -> list[float]:
    if not isinstance(rewards, list) or not all(type(r) in (int, float) and math.isfinite(r) for r in rewards):
        fail_at(place.problem(field, "must have a number for each completion, its reward"))
    return [float(reward) for reward in rewards]


def page_name(row: Row, place: Location) -> str:
    name = row.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        fail_at(place.problem("id", "must be the page's name"))
    return str(name)


def text_completion(text: str, finished: bool) -> Completion:
    """A completion without tokens: files hold only text."""
    return Completion((), text, "end" if finished else "length", ())


def _no_image() -> NoReturn:
    raise AssertionError("the groups were read without their dataset")
