"""Preferences as JSON Lines: made from files of scored groups, read by `ocr-rl train` and by TRL.

    pairs     {"id", "images", "prompt", "chosen", "rejected", "chosen_reward", "rejected_reward", ...}
    labels    {"id", "images", "prompt", "completion", "label", "reward", ...}

`prompt`, `chosen`, `rejected` and `completion` are conversations; TRL passes the other columns over. `ocr-rl train`
takes images and prompts from its own dataset, by `id`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from ocr_rl.data.images import ImageFile
from ocr_rl.data.problems import Place, Problem, json_lines
from ocr_rl.preferences import Labelled, Pair
from ocr_rl.rewards import ScoredGroup
from ocr_rl.types import Completion, Group, Page

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


def _own_rewards(row: Row, place: Place) -> list[float]:
    rewards = row.get("rewards", None if row.get("completions") else [])
    if rewards is None:
        score = "`ocr-verify groups FILE --json SCORES`, and give --scores SCORES"
        _stop(place.problem("rewards", f"is missing; score the completions with {score}"))
    return _numbers(rewards, place, "rewards")


def _told_rewards(row: Row, place: Place, line: tuple[Place, Row] | None) -> list[float]:
    if line is None:
        _stop(place.problem(None, "the scores end before this line; they are of another file"))
    where, score = line
    if score.get("id") != row.get("id"):
        _stop(where.problem("id", f"is {score.get('id')!r}, but {place} is of {row.get('id')!r}"))
    told = score.get("completions")
    rewards = [one.get("reward") for one in told if isinstance(one, dict)] if isinstance(told, list) else None
    return _numbers(rewards, where, "completions")


def _numbers(rewards: object, place: Place, field: str) -> list[float]:
    if not isinstance(rewards, list) or not all(type(r) in (int, float) and math.isfinite(r) for r in rewards):
        _stop(place.problem(field, "must have a number for each completion, its reward"))
    return [float(reward) for reward in rewards]


def _name(row: Row, place: Place) -> str:
    name = row.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        _stop(place.problem("id", "must be the page's name"))
    return str(name)


def _completion(text: str, finished: bool) -> Completion:
    """Without tokens: a file holds text."""
    return Completion((), text, "end" if finished else "length", ())


def _no_image() -> NoReturn:
    raise AssertionError("this page came without its dataset")


# Preferences out


def pair_row(pair: Pair, image: Path | None = None) -> dict[str, Any]:
    """A line of a pairs file; `image` is the page's image file."""
    return {
        **_page_columns(pair.page, image),
        "chosen": _answer(pair.chosen),
        "rejected": _answer(pair.rejected),
        "chosen_reward": pair.chosen_reward,
        "rejected_reward": pair.rejected_reward,
        "chosen_finished": pair.chosen.finished,
        "rejected_finished": pair.rejected.finished,
    }


def label_row(label: Labelled, image: Path | None = None) -> dict[str, Any]:
    """A line of a file of labelled completions."""
    return {
        **_page_columns(label.page, image),
        "completion": _answer(label.completion),
        "label": label.desirable,
        "reward": label.reward,
        "finished": label.completion.finished,
    }


def _page_columns(page: Page, image: Path | None) -> dict[str, Any]:
    content = [{"type": "image"}] + ([{"type": "text", "text": page.prompt}] if page.prompt else [])
    images = {} if image is None else {"images": [str(image)]}
    return {"id": page.id, **images, "prompt": [{"role": "user", "content": content}]}


def _answer(completion: Completion) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": completion.text}]


def image_path(page: Page, folder: Path) -> Path:
    """The page's image file. A page of a PDF or of a table has none: its image is written into `folder`."""
    if isinstance(page.open_image, ImageFile):
        return page.open_image.path.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / f"{quote(page.id, safe='')}.png"
    page.image.save(path)
    return path


# Preferences in


def read_pairs(file: Path, pages: Sequence[Page], others: Sequence[Page] = ()) -> list[Pair]:
    """The pairs of `pages`, in order; those of `others`, which are held out, are passed over.

    Raises:
        ValueError: with file and line, for what is no pair, or is of neither; or none is of `pages`.
    """
    found = []
    for place, row, page in _rows(file, pages, others):
        chosen, rejected = (_read_answer(row, key, f"{key}_finished", place) for key in ("chosen", "rejected"))
        found.append(
            Pair(page, chosen, rejected, _number(row, "chosen_reward", place), _number(row, "rejected_reward", place))
        )
    return found


def read_labels(file: Path, pages: Sequence[Page], others: Sequence[Page] = ()) -> list[Labelled]:
    """The same for labelled completions."""
    found = []
    for place, row, page in _rows(file, pages, others):
        completion = _read_answer(row, "completion", "finished", place)
        if not isinstance(row.get("label"), bool):
            _stop(place.problem("label", "must be true or false"))
        found.append(Labelled(page, completion, row["label"], _number(row, "reward", place)))
    return found


def _rows(file: Path, pages: Sequence[Page], others: Sequence[Page]) -> Iterator[tuple[Place, Row, Page]]:
    if not file.is_file():
        raise ValueError(f"no file {file}; `ocr-rl pairs` writes one")
    wanted, spared = {page.id: page for page in pages}, {page.id for page in others}
    there = 0
    for place, row in json_lines(file, _stop):
        name = _name(row, place)
        if name not in wanted and name not in spared:
            _stop(place.problem("id", f"is {name}, which is no page of the recipe's dataset"))
        if name in wanted:
            there += 1
            yield place, row, wanted[name]
    if not there:
        raise ValueError(f"{file}: has nothing of the {len(pages)} pages to train on; give a file made from them")


def _read_answer(row: Row, key: str, flag: str, place: Place) -> Completion:
    """The one message of a conversation; it was finished unless `flag` says otherwise."""
    told = row.get(key)
    message = told[0] if isinstance(told, list) and len(told) == 1 else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        kinds = "pairs have chosen and rejected, labels (`ocr-rl pairs --labels`, for kto) a completion"
        _stop(place.problem(key, f'must be [{{"role": "assistant", "content": "..."}}]; {kinds}'))
    if not isinstance(row.get(flag, True), bool):
        _stop(place.problem(flag, "must be true or false"))
    return _completion(text, row.get(flag, True))


def _number(row: Row, key: str, place: Place) -> float:
    """0 where a file of another program tells no reward: no loss uses it."""
    value = row.get(key, 0.0)
    if type(value) not in (int, float):
        _stop(place.problem(key, "must be a number"))
    return float(value)
