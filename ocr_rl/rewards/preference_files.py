"""Writes preferences as JSON Lines, which `ocr-rl train` and TRL read.

    pairs     {"id", "images", "prompt", "chosen", "rejected", "chosen_reward", "rejected_reward", ...}
    labels    {"id", "images", "prompt", "completion", "label", "reward", ...}

`prompt`, `chosen`, `rejected` and `completion` are conversations; TRL ignores the other columns. `ocr-rl train` takes
images and prompts from its dataset, by `id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ocr_rl.config.presets import PromptFormat
from ocr_rl.data.images import ImageFile
from ocr_rl.data.problems import Location, json_lines
from ocr_rl.rewards.group_files import Row, fail_at, page_name, text_completion
from ocr_rl.rewards.preferences import LabelledCompletion, Pair
from ocr_rl.types import Completion, Page

# Writing


def pair_row(pair: Pair, image: Path | None = None, prompt: Sequence[Any] = ()) -> dict[str, Any]:
    """A line of a pairs file.

    Args:
        image: the page's image file.
        prompt: the conversation that asked for the completions; empty: the page and its own prompt.
    """
    return {
        **_page_columns(pair.page, image, prompt),
        "chosen": _answer(pair.chosen),
        "rejected": _answer(pair.rejected),
        "chosen_reward": pair.chosen_reward,
        "rejected_reward": pair.rejected_reward,
        "chosen_finished": pair.chosen.finished,
        "rejected_finished": pair.rejected.finished,
    }


def label_row(label: LabelledCompletion, image: Path | None = None, prompt: Sequence[Any] = ()) -> dict[str, Any]:
    """A line of a file of labelled completions."""
    return {
        **_page_columns(label.page, image, prompt),
        "completion": _answer(label.completion),
        "label": label.desirable,
        "reward": label.reward,
        "finished": label.completion.finished,
    }


def _page_columns(page: Page, image: Path | None, prompt: Sequence[Any]) -> dict[str, Any]:
    images = {} if image is None else {"images": [str(image)]}
    return {"id": page.id, **images, "prompt": list(prompt) or PromptFormat().messages(page.prompt)}


def _answer(completion: Completion) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": completion.text}]


def image_path(page: Page, folder: Path) -> Path:
    """The page's image file. A page of a table, a PDF or a long TIFF has none: its image is written to `folder`."""
    if isinstance(page.open_image, ImageFile) and page.open_image.frame is None:
        return page.open_image.path.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / f"{quote(page.id, safe='')}.png"
    page.image.save(path)
    return path


# Reading


def read_pairs(file: Path, pages: Sequence[Page], others: Sequence[Page] = ()) -> list[Pair]:
    """The pairs of `pages`, in order. Those of `others`, the held-out pages, are skipped.

    Raises:
        ValueError: with file and line, if a line is not a pair or its page is unknown; or there is no pair of `pages`.
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
            fail_at(place.problem("label", "must be true or false"))
        found.append(LabelledCompletion(page, completion, row["label"], _number(row, "reward", place)))
    return found


def _rows(file: Path, pages: Sequence[Page], others: Sequence[Page]) -> Iterator[tuple[Location, Row, Page]]:
    if not file.is_file():
        raise ValueError(f"{file} does not exist; `ocr-rl pairs` writes such a file")
    training, held_out = {page.id: page for page in pages}, {page.id for page in others}
    found = False
    for place, row in json_lines(file, fail_at):
        name = page_name(row, place)
        if name not in training and name not in held_out:
            fail_at(place.problem("id", f"is {name}, which is not a page of the recipe's dataset"))
        if name in training:
            found = True
            yield place, row, training[name]
    if not found:
        raise ValueError(f"{file}: has no line for the {len(pages)} pages to train on; give a file made from them")


def _read_answer(row: Row, key: str, flag: str, place: Location) -> Completion:
    """The only message of a conversation; it is finished unless `flag` says otherwise."""
    messages = row.get(key)
    message = messages[0] if isinstance(messages, list) and len(messages) == 1 else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        kinds = "pairs have chosen and rejected, labels (`ocr-rl pairs --labels`, for kto) a completion"
        fail_at(place.problem(key, f'must be [{{"role": "assistant", "content": "..."}}]; {kinds}'))
    if not isinstance(row.get(flag, True), bool):
        fail_at(place.problem(flag, "must be true or false"))
    return text_completion(text, row.get(flag, True))


def _number(row: Row, key: str, place: Location) -> float:
    """0 if the file has no such column, as files of other programs: no loss uses it."""
    value = row.get(key, 0.0)
    if type(value) not in (int, float):
        fail_at(place.problem(key, "must be a number"))
    return float(value)
