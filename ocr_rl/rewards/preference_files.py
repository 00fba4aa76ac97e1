"""Preferences as JSON Lines: made from files of scored groups, read by `ocr-rl train` and by TRL.

    pairs     {"id", "images", "prompt", "chosen", "rejected", "chosen_reward", "rejected_reward", ...}
    labels    {"id", "images", "prompt", "completion", "label", "reward", ...}

`prompt`, `chosen`, `rejected` and `completion` are conversations; TRL passes the other columns over. `ocr-rl train`
takes images and prompts from its own dataset, by `id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ocr_rl.data.images import ImageFile
from ocr_rl.data.problems import Location, json_lines
from ocr_rl.rewards.group_files import Row, _completion, _name, _stop
from ocr_rl.rewards.preferences import LabelledCompletion, Pair
from ocr_rl.types import Completion, Page

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


def label_row(label: LabelledCompletion, image: Path | None = None) -> dict[str, Any]:
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


def read_labels(file: Path, pages: Sequence[Page], others: Sequence[Page] = ()) -> list[LabelledCompletion]:
    """The same for labelled completions."""
    found = []
    for place, row, page in _rows(file, pages, others):
        completion = _read_answer(row, "completion", "finished", place)
        if not isinstance(row.get("label"), bool):
            _stop(place.problem("label", "must be true or false"))
        found.append(LabelledCompletion(page, completion, row["label"], _number(row, "reward", place)))
    return found


def _rows(file: Path, pages: Sequence[Page], others: Sequence[Page]) -> Iterator[tuple[Location, Row, Page]]:
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


def _read_answer(row: Row, key: str, flag: str, place: Location) -> Completion:
    """The one message of a conversation; it was finished unless `flag` says otherwise."""
    messages = row.get(key)
    message = messages[0] if isinstance(messages, list) and len(messages) == 1 else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        kinds = "pairs have chosen and rejected, labels (`ocr-rl pairs --labels`, for kto) a completion"
        _stop(place.problem(key, f'must be [{{"role": "assistant", "content": "..."}}]; {kinds}'))
    if not isinstance(row.get(flag, True), bool):
        _stop(place.problem(flag, "must be true or false"))
    return _completion(text, row.get(flag, True))


def _number(row: Row, key: str, place: Location) -> float:
    """0 where a file of another program tells no reward: no loss uses it."""
    value = row.get(key, 0.0)
    if type(value) not in (int, float):
        _stop(place.problem(key, "must be a number"))
    return float(value)
