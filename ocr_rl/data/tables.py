"""Datasets with one row per page: JSONL files that name image files, and Hugging Face tables."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_rl.data.cells import (
    LONGEST_PATH,
    TableImage,
    find_file,
    from_base64,
    image_bytes,
    one_image,
    similar_file,
)
from ocr_rl.data.images import TIFF_SUFFIXES, EncodedImage, ImageError, ImageFile, tiff_frames
from ocr_rl.data.messages import read_chat, without_placeholder
from ocr_rl.data.problems import (
    Found,
    Location,
    ReportProblem,
    csv_rows,
    json_lines,
    report_text,
    tests_in,
    valid_test,
    with_newlines,
)
from ocr_rl.data.splits import TRAINED
from ocr_rl.hub import hub_silence
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
SAVED_TABLE = ("state.json", "dataset_dict.json")
"""A folder written by `save_to_disk` has one of these."""


def read_rows(file: Path, columns: Mapping[str, str], report: ReportProblem, folder: str = "") -> Iterator[Found]:
    """JSONL or CSV rows that name image files, as in a Hugging Face `imagefolder`.

    A page's id is the name of its image file, unless `columns` names an id; `folder` is put before it. `book.tif#3` is
    the third page of a TIFF. A `tests.jsonl` next to the file holds olmOCR-bench records whose `pdf` is the name of the
    image file and whose `page` is 1.
    """
    rows = list((csv_rows if file.suffix == ".csv" else json_lines)(file, report))
    if not rows:
        return
    names = {key for _, row in rows for key in row}
    standard = {"image": "file_name"} if "file_name" in names else {}
    roles = name_columns(standard | dict(columns), names, str(file))
    image = roles.get("image", roles.get("messages", ""))
    roles.pop("id", None)
    if "id" in columns:
        roles["id"] = columns["id"]
    tests: dict[str, list[tuple[Location, dict[str, Any]]]] = defaultdict(list)
    beside = file.with_name("tests.jsonl")
    for location, record in tests_in(beside, report) if beside.is_file() else ():
        if record["page"] != 1:
            report(location.problem("page", f"is {record['page']}, but an image is its own page 1"))
        tests[record["pdf"]].append((location, record))
    for location, row in rows:
        try:
            name = one_image(_image_cell(row, roles), str(location))
        except ImageError as error:
            report(location.problem(image, error.reason))
            continue
        if not isinstance(name, str) or not name:
            report(location.problem(image, "must name an image file"))
            continue
        records = [record for _, record in tests.pop(name, ())]
        try:
            page_id, opener = _named_image(file, name)
        except ImageError as error:
            report(location.problem(image, error.reason))
            continue
        shown = name if len(name) <= LONGEST_PATH else None
        page = _page(row, roles, folder + page_id, opener, records, location, report)
        yield Found(page, location, image, shown)
    for name, unclaimed in tests.items():
        for location, _ in unclaimed:
            report(location.problem("pdf", f"names {name}, which is not a page of {file.name}"))


def _named_image(file: Path, name: str) -> tuple[str, ImageFile | EncodedImage]:
    """The id and the image that a row of `file` names. Raises ImageError if there is no such file, or page of it."""
    if (encoded := from_base64(name)) is not None:
        return sha256(encoded).hexdigest()[:16], EncodedImage(encoded)
    numbered = re.fullmatch(r"(.+\.tiff?)#([1-9]\d*)", name, re.IGNORECASE)
    written, number = (numbered[1], int(numbered[2])) if numbered else (name, None)
    path = find_file(file.parent, written) or (find_file(file.parent, name) if numbered else None)
    if path is None:
        shown = name if len(name) <= LONGEST_PATH else f"a file of {len(name):,} characters"
        kind, hint = file.suffix[1:].upper(), similar_file(file.parent, written) if len(name) <= LONGEST_PATH else ""
        raise ImageError(name, f"names {shown}, which does not exist; paths are relative to the {kind} file{hint}")
    page_id = name if path == file.parent / written else path.relative_to(file.parent).as_posix()
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return page_id, ImageFile(path)
    frames = tiff_frames(path)
    if number is None and len(frames) > 1:
        last = len(frames)
        rows = f"{name}#1 to {name}#{last}"
        raise ImageError(name, f"names {name}, which has {last} pages; write a row for each, {rows}")
    if number is not None and number > len(frames):
        raise ImageError(name, f"names page {number} of {written}, which has {len(frames)}")
    return page_id, ImageFile(path, frames[number - 1] if number else None)


def _image_cell(row: Mapping[str, Any], roles: Mapping[str, str]) -> Any:
    """What a row has as its image: the cell of the image's column, else what its messages hold."""
    if "image" in roles:
        return row.get(roles["image"])
    try:
        return read_chat(row.get(roles["messages"])).images
    except ValueError:  # which reading the text reports
        return None


def read_table(path: Path, columns: Mapping[str, str], split: str, report: ReportProblem) -> Iterator[Found]:
    """A Hugging Face dataset: saved to disk, parquet, or `owner/name` on the hub.

    A page's id is the `id` column; without one, it is the first 16 hexadecimal digits of the sha256 of the image
    file, which is read for that, and its row if an earlier row has the same image. Images stay on disk until they are
    opened.
    """
    import datasets

    table, split = _open_table(path, split)
    roles = name_columns(columns, table.column_names, str(path))
    if not {"text", "tests", "messages"} & set(roles):
        known = ", ".join(table.column_names)
        raise ValueError(f"{path}: cannot tell which column is the text; write columns.text = one of {known}")
    image = roles.get("image", roles.get("messages", ""))
    pictures = [name for name, kind in table.features.items() if _holds_images(kind)]
    for role, column in roles.items():
        if role not in ("image", "messages") and column in pictures:
            raise ValueError(f'{path}: the column "{column}" for the {role} holds images')
    if image in pictures:
        several = isinstance(table.features[image], datasets.List)
        encoded = datasets.Image(decode=False)
        table = table.cast_column(image, datasets.List(encoded) if several else encoded)
    elif "image" in roles and not _may_hold_images(table.features[image]):
        raise ValueError(f'{path}: the column "{image}" holds no images: {table.features[image]}')
    images = table.select_columns(image)
    unread = {*pictures, image} - {roles.get("messages")}
    folder = path if path.is_dir() else path.parent
    ids: set[str] = set()
    for index, row in enumerate(table.remove_columns([name for name in table.column_names if name in unread])):
        if split and row.get("split") != split:
            continue
        location = Location(str(path), index + 1)
        open_image: TableImage | EncodedImage = TableImage(images, image, index, str(location), folder)
        name = row.get(roles.get("id", ""))
        try:
            if "image" not in roles:
                open_image = EncodedImage(image_bytes(_image_cell(row, roles), folder, str(location)), str(location))
            if name is None:
                content = open_image.data if isinstance(open_image, EncodedImage) else open_image.content()
                digest = sha256(content).hexdigest()[:16]
                name = f"{digest}-{index + 1}" if digest in ids else digest
                ids.add(digest)
        except ImageError as error:
            report(location.problem(image, error.reason))
            continue
        yield Found(_page(row, roles, str(name), open_image, (), location, report), location, image)


def _holds_images(kind: Any) -> bool:
    """Whether a column's type is an image, or a list of them."""
    import datasets

    return isinstance(getattr(kind, "feature", kind), datasets.Image)


def _may_hold_images(kind: Any) -> bool:
    """Whether a column's type can be read by `image_bytes`: bytes, a text, a struct of these, or a list."""
    kind = getattr(kind, "feature", kind)
    if isinstance(kind, dict):
        return not {"bytes", "path"}.isdisjoint(kind)
    return getattr(kind, "dtype", "") in ("string", "large_string", "binary", "large_binary")


def _open_table(path: Path, split: str) -> tuple[Any, str]:
    """The table, and the split that its rows must state: empty if they need not."""
    import datasets

    saved = any((path / name).is_file() for name in SAVED_TABLE)
    silence = "" if path.exists() else hub_silence()
    try:
        if path.is_file():
            loaded = datasets.Dataset.from_parquet(str(path))
        else:
            loaded = datasets.load_from_disk(str(path)) if saved else datasets.load_dataset(str(path))
    except Exception as error:  # readers and the hub's client raise whatever their lower layers do
        what = "cannot be read" if path.exists() else "no such file or folder, and the hub gave nothing"
        if silence:
            what += f": {silence}, and there is no copy in {datasets.config.HF_DATASETS_CACHE}"
            raise ValueError(f"{path}: {what}; give a folder, or connect and try again") from None
        raise ValueError(f"{path}: {what}: {type(error).__name__}: {error}") from error
    tables = loaded if isinstance(loaded, datasets.DatasetDict) else {_split_of_table(path, loaded): loaded}
    if len(tables) == 1 and split:
        [table] = tables.values()
        if "split" in table.column_names and (stated := Counter(table["split"])) and any(stated):
            if split not in stated:
                raise no_split(path, split, stated)
            return table, split
    if not isinstance(loaded, datasets.DatasetDict) and not split:
        return loaded, ""
    if (split or "train") not in tables:
        raise no_split(path, split or "train", {name: len(table) for name, table in tables.items()})
    return tables[split or "train"], ""


def _split_of_table(path: Path, table: Any) -> str:
    """The split of a table by itself: that of its file's name, as on the hub, else the one it was saved as."""
    named = re.split(r"[^a-z]+", path.stem.lower()) if path.is_file() else []
    return next((part for part in named if part in TRAINED), str(table.split or "train"))


def no_split(path: Path, split: str, known: Mapping[Any, int]) -> ValueError:
    """The error for a split that is not there, which names those that are."""
    there = ", ".join(f"{name} ({count:,})" for name, count in known.items() if name)
    return ValueError(f'{path}: no split "{split}"; there is {there}')


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
