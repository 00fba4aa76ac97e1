"""A dataset in another form: an image folder, parquet, or layout files with their images."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ocr_rl.data.archives.layout import Layout, Region, box_points
from ocr_rl.data.archives.pages import ArchivePage
from ocr_rl.data.images import ImageFile
from ocr_rl.types import Page


def rows_of(pages: Iterable[Page], save: Callable[[Page, str], Any]) -> Iterator[dict[str, Any]]:
    """A row for each page: what `save` returns for its image, its text, tests, prompt and metadata."""
    taken: set[str] = set()
    for page in pages:
        name = file_name(page.id, taken)
        own = {"id": page.id, "text": page.text, "prompt": page.prompt or None, "tests": list(page.tests) or None}
        stated = {key: value for key, value in own.items() if value is not None}
        yield {**save(page, name), **stated, **{key: value for key, value in page.metadata.items() if key not in own}}


def file_name(page: str, taken: set[str]) -> str:
    """A .png for a page, which is not `taken`, and taken then."""
    stem = re.sub(r"[^\w.-]", "_", page.removesuffix(".png"))
    name, number = f"{stem}.png", 2
    while name.casefold() in taken:
        name, number = f"{stem}_{number}.png", number + 1
    taken.add(name.casefold())
    return name


def save_png(folder: Path) -> Callable[[Page, str], dict[str, Any]]:
    """Saves images into a folder; rows name them."""

    def save(page: Page, name: str) -> dict[str, Any]:
        page.image.save(folder / name)
        return {"file_name": name}

    return save


def as_bytes(page: Page, name: str) -> dict[str, Any]:
    """The image within the row."""
    buffer = io.BytesIO()
    page.image.save(buffer, "PNG")
    return {"image": {"bytes": buffer.getvalue(), "path": name}}


def write_parquet(file: Path, pages: Sequence[Page]) -> None:
    """A Hugging Face table of the pages. Metadata that is a list stays one; any other value becomes a text."""
    import datasets

    lists = {key for page in pages for key, value in page.metadata.items() if isinstance(value, list | tuple)}
    keys = dict.fromkeys(key for page in pages for key in page.metadata)
    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    features = {"image": datasets.Image(), "id": text, "text": text, "prompt": text, "tests": text}
    features = {**{key: texts if key in lists else text for key in keys}, **features}

    def rows() -> Iterator[dict[str, Any]]:
        import json

        for row in rows_of(pages, as_bytes):
            row["tests"] = json.dumps(row["tests"]) if "tests" in row else None
            for key in keys:
                value = row.get(key)
                if value is not None and key not in ("text", "prompt", "id"):
                    row[key] = list(map(str, value if isinstance(value, list | tuple) else [value]))
                    row[key] = row[key] if key in lists else row[key][0]
            yield {key: row.get(key) for key in features}

    with tempfile.TemporaryDirectory() as cache:
        table = datasets.Dataset.from_generator(rows, features=datasets.Features(features), cache_dir=cache)
        table.to_parquet(str(file))


def layout_of(page: Page) -> Layout:
    """A page of any dataset as one region with its text."""
    size = page.image.size
    whole = Region("r1", "", box_points(0, 0, *size), own_text=page.text or "")
    return Layout("", size, (whole,))


def copy_image(page: ArchivePage | Page, folder: Path, stem: str) -> tuple[str, tuple[int, int]]:
    """The page's image beside its layout file: (its name, its size). A file is copied, anything else becomes a .png."""
    opener = page.image if isinstance(page, ArchivePage) else page.open_image
    assert opener is not None
    image = opener()
    if isinstance(opener, ImageFile) and opener.frame is None:
        name = stem + opener.path.suffix
        shutil.copyfile(opener.path, folder / name)
    else:
        name = f"{stem}.png"
        image.convert("RGB").save(folder / name)
    return name, image.size
