"""Hugging Face tables: saved to disk, parquet, or on the hub."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ocr_rl.data.cells import TableImage, image_bytes
from ocr_rl.data.columns import image_cell, name_columns, page_of_row
from ocr_rl.data.images import EncodedImage, ImageError
from ocr_rl.data.problems import Found, Location, ReportProblem
from ocr_rl.data.splits import TRAINED
from ocr_rl.hub import hub_silence

SAVED_TABLE = ("state.json", "dataset_dict.json")
"""A folder written by `save_to_disk` has one of these."""


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
                open_image = EncodedImage(image_bytes(image_cell(row, roles), folder, str(location)), str(location))
            if name is None:
                content = open_image.data if isinstance(open_image, EncodedImage) else open_image.content()
                digest = sha256(content).hexdigest()[:16]
                name = f"{digest}-{index + 1}" if digest in ids else digest
                ids.add(digest)
        except ImageError as error:
            report(location.problem(image, error.reason))
            continue
        yield Found(page_of_row(row, roles, str(name), open_image, (), location, report), location, image)


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
