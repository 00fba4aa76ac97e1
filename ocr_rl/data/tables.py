"""Datasets with one row per page: JSONL files that name image files, and Hugging Face tables."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_rl.data.images import ImageError, ImageFile, TableImage
from ocr_rl.data.problems import (
    Found,
    Location,
    ReportProblem,
    json_lines,
    report_text,
    tests_in,
    valid_test,
    with_newlines,
)
from ocr_rl.types import Page

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = {
    "image": ("image", "file_name"),
    "text": ("text", "transcription", "ground_truth", "markdown"),
    "id": ("id",),
    "prompt": ("prompt",),
    "tests": ("tests",),
}
"""The roles of columns, and for each the names that are tried in this order if `columns` does not name one."""
SAVED_TABLE = ("state.json", "dataset_dict.json")
"""A folder written by `save_to_disk` has one of these."""


def read_rows(file: Path, columns: Mapping[str, str], report: ReportProblem) -> Iterator[Found]:
    """JSONL rows that name image files, as in a Hugging Face `imagefolder`.

    A page's id is the name of its image file, unless `columns` names an id. A `tests.jsonl` next to the file holds
    olmOCR-bench records whose `pdf` is the name of the image file and whose `page` is 1.
    """
    rows = list(json_lines(file, report))
    if not rows:
        return
    names = {key for _, row in rows for key in row}
    standard = {"image": "file_name"} if "file_name" in names else {}
    roles = name_columns(standard | dict(columns), names, str(file))
    image = roles["image"]
    roles["id"] = columns.get("id", image)
    tests: dict[str, list[tuple[Location, dict[str, Any]]]] = defaultdict(list)
    beside = file.with_name("tests.jsonl")
    for location, record in tests_in(beside, report) if beside.is_file() else ():
        if record["page"] != 1:
            report(location.problem("page", f"is {record['page']}, but an image is its own page 1"))
        tests[record["pdf"]].append((location, record))
    for location, row in rows:
        name = row.get(image)
        if not isinstance(name, str) or not name:
            report(location.problem(image, "must name an image file"))
            continue
        records = [record for _, record in tests.pop(name, ())]
        if not (file.parent / name).is_file():
            fix = "paths are relative to the JSONL file"
            report(location.problem(image, f"names {name}, which does not exist; {fix}"))
            continue
        page = _page(row, roles, name, ImageFile(file.parent / name), records, location, report)
        yield Found(page, location, image, name)
    for name, unclaimed in tests.items():
        for location, _ in unclaimed:
            report(location.problem("pdf", f"names {name}, which is not a page of {file.name}"))


def read_table(path: Path, columns: Mapping[str, str], split: str, report: ReportProblem) -> Iterator[Found]:
    """A Hugging Face dataset: saved to disk, parquet, or `owner/name` on the hub.

    A page's id is the `id` column; without one, it is the first 16 hexadecimal digits of the sha256 of the image
    file, which is read for that. Images stay on disk until they are opened.
    """
    import datasets

    table = _open_table(path, split)
    roles = name_columns(columns, table.column_names, str(path))
    if "text" not in roles and "tests" not in roles:
        known = ", ".join(table.column_names)
        raise ValueError(f"{path}: cannot tell which column is the text; write columns.text = one of {known}")
    image = roles["image"]
    try:
        table = table.cast_column(image, datasets.Image(decode=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f'{path}: the column "{image}" holds no images: {error}') from error
    images = table.select_columns(image)
    pictures = [name for name, kind in table.features.items() if isinstance(kind, datasets.Image)]
    for role, column in roles.items():
        if role != "image" and column in pictures:
            raise ValueError(f'{path}: the column "{column}" for the {role} holds images')
    for index, row in enumerate(table.remove_columns(pictures)):
        location = Location(str(path), index + 1)
        open_image = TableImage(images, image, index, str(location))
        name = row.get(roles.get("id", ""))
        if name is None:
            try:
                name = sha256(open_image.content()).hexdigest()[:16]
            except ImageError as error:
                report(location.problem(image, error.reason))
                continue
        yield Found(_page(row, roles, str(name), open_image, (), location, report), location, image)


def _open_table(path: Path, split: str) -> Any:
    import datasets

    saved = any((path / name).is_file() for name in SAVED_TABLE)
    try:
        if path.is_file():
            loaded = datasets.Dataset.from_parquet(str(path))
        else:
            loaded = datasets.load_from_disk(str(path)) if saved else datasets.load_dataset(str(path))
    except Exception as error:  # readers and the hub's client raise whatever their lower layers do
        what = "cannot be read" if path.exists() else "no such file or folder, and the hub gave nothing"
        raise ValueError(f"{path}: {what}: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    if split not in loaded:
        raise ValueError(f'{path}: no split "{split}"; there is {", ".join(loaded)}')
    return loaded[split]


def name_columns(columns: Mapping[str, str], available: Iterable[str], where: str) -> dict[str, str]:
    """The column of each role: from `columns`, else the first known name that exists. The image must have one."""
    names = sorted(available)
    for role, column in columns.items():
        if role not in COLUMNS:
            raise ValueError(f'columns: "{role}" is not one of {", ".join(COLUMNS)}')
        if column not in names:
            raise ValueError(f'{where}: no column "{column}" for the {role}; there is {", ".join(names)}')
    roles = dict(columns)
    for role, known in COLUMNS.items():
        free = [name for name in known if name in names and name not in columns.values()]
        if role not in roles and free:
            roles[role] = free[0]
    if "image" not in roles:
        raise ValueError(
            f"{where}: cannot tell which column is the image; write columns.image = one of {', '.join(names)}"
        )
    return roles


def _page(
    row: Mapping[str, Any],
    roles: Mapping[str, str],
    name: str,
    open_image: Callable[[], Image],
    records: Sequence[Mapping[str, Any]],
    location: Location,
    report: ReportProblem,
) -> Page:
    """The page of a row, with the id `name` if no column gives one. A null counts as an absent key."""
    known = {role: row[column] for role, column in roles.items() if row.get(column) is not None}
    page_id = str(known.get("id", name))
    tests = (*records, *_own_tests(known.get("tests", []), page_id, location, roles, report))
    text = known.get("text")
    if text is not None and not isinstance(text, str):
        report(location.problem(roles["text"], f"is {text!r}, not a string"))
        text = ""
    elif text is not None:
        text = with_newlines(text)
        report_text(text, location, roles["text"], bool(tests), report)
    metadata = {key: value for key, value in row.items() if key not in roles.values() and value is not None}
    return Page(page_id, open_image, str(known.get("prompt", "")), text, tests, metadata)


def _own_tests(
    value: Any, page_id: str, location: Location, roles: Mapping[str, str], report: ReportProblem
) -> Iterator[dict[str, Any]]:
    """The valid tests of a row: a list of records, or that as JSON.

    `pdf`, `page` and `id` may be left out, since the row is the page; nulls count as left out.
    """
    try:
        records = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        records = None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        report(location.problem(roles["tests"], "must be a list of test records"))
        return
    for number, record in enumerate(records, 1):
        stated = {key: value for key, value in record.items() if value is not None}
        test = {"pdf": page_id, "page": 1, "id": f"{page_id}_test{number}"} | stated
        if valid_test(test, location, report):
            yield test
