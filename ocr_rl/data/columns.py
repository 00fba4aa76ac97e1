"""What the columns of a row are: image, text, id, prompt, tests, messages; and the page that they make."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ocr_rl.data.messages import read_chat, without_placeholder
from ocr_rl.data.problems import Location, ReportProblem, report_text, valid_test, with_newlines
from ocr_rl.types import Page

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = {
    "image": ("image", "file_name", "images", "file_names"),
    "text": ("text", "transcription", "ground_truth", "markdown"),
    "id": ("id",),
    "prompt": ("prompt",),
    "tests": ("tests",),
    "messages": ("messages", "conversations"),
}
"""The roles of columns, and for each the names that are tried in this order if `columns` does not name one."""


def image_cell(row: Mapping[str, Any], roles: Mapping[str, str]) -> Any:
    """What a row has as its image: the cell of the image's column, else what its messages hold."""
    if "image" in roles:
        return row.get(roles["image"])
    try:
        return read_chat(row.get(roles["messages"])).images
    except ValueError:  # which reading the text reports
        return None


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
    if "image" not in roles and "messages" not in roles:
        raise ValueError(
            f"{where}: cannot tell which column is the image; write columns.image = one of {', '.join(names)}"
        )
    return roles


def page_of_row(
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
    text, prompt, field = known.get("text"), str(known.get("prompt", "")), "text"
    if text is None and "messages" in known:
        try:
            (prompt, text, _), field = read_chat(known["messages"]), "messages"
        except ValueError as error:
            report(location.problem(roles["messages"], str(error)))
            return Page(page_id, open_image, prompt, "", tests)
    if text is not None and not isinstance(text, str):
        report(location.problem(roles[field], f"is {text!r}, not a string"))
        text = ""
    elif text is not None:
        text = with_newlines(text)
        report_text(text, location, roles[field], bool(tests), report)
    metadata = {key: value for key, value in row.items() if key not in roles.values() and value is not None}
    return Page(page_id, open_image, without_placeholder(prompt), text, tests, metadata)


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
