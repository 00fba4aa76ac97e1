"""Transcriptions as PAGE-XML, ALTO or hOCR: a file for each page, beside the rows that they are made from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from ocr_rl.data.archives.alto import write_alto
from ocr_rl.data.archives.choice import reads_layouts
from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.hocr import write_hocr
from ocr_rl.data.archives.layout import Layout, Region, box_points
from ocr_rl.data.archives.page_xml import write_page_xml
from ocr_rl.data.archives.pages import ArchivePage, read_archive
from ocr_rl.data.archives.placing import place_page_text, place_part_texts
from ocr_rl.data.unlabelled import Unread, walk_pages
from ocr_rl.runs.atomic import write_atomically

LAYOUT_FORMATS: dict[str, tuple[Callable[[Layout], bytes], str]] = {
    "page-xml": (write_page_xml, ".xml"),
    "alto": (write_alto, ".xml"),
    "hocr": (write_hocr, ".hocr"),
}
"""For each format what writes it, and how its files end."""


def write_layouts(folder: Path, source: Path, crop: Crop, written_as: str) -> None:
    """A layout file for each page with a row in the folder's pages.jsonl, named like the page's own file."""
    write, suffix = LAYOUT_FORMATS[written_as]
    taken: set[str] = set()
    for name, layout in _transcribed(source, crop, _texts(folder / "pages.jsonl")):
        file = layout_name(name, suffix, taken)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / file, write(layout).decode("utf-8"))


def layout_name(page: str, suffix: str, taken: set[str]) -> str:
    """The name of a page's layout file: its own with another suffix, or both if that is `taken`."""
    file, _, part = page.partition("#")
    part = f"_pg{part}" if part.isdecimal() else f"_{part}" if part else ""
    path = PurePosixPath(file)
    name = path.with_name(path.stem + part + suffix).as_posix()
    if name in taken:
        name = f"{file}{part}{suffix}"
    taken.add(name)
    return name


def _texts(rows: Path) -> dict[str, dict[str, str]]:
    """The texts of a file of rows: {file: {page, region or line: text}}; "" is the file's only page."""
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    with open(rows, encoding="ascii") as file:
        for row in map(json.loads, file):
            if "error" not in row:
                name, _, part = row["id"].partition("#")
                texts[name][part] = row["text"]
    return texts


def _transcribed(source: Path, crop: Crop, texts: dict[str, dict[str, str]]) -> Iterator[tuple[str, Layout]]:
    """(the page, its layout with the texts that it has now); pages without any are left out."""
    if not reads_layouts(source, crop):
        for page in walk_pages(source):
            name, _, part = page.id.partition("#")
            if not isinstance(page, Unread) and part in texts.get(name, {}):
                size = page.open_image().size
                whole = Region("r1", "", box_points(0, 0, *size), own_text=texts[name][part])
                yield page.id, Layout(PurePosixPath(name).name, size, (whole,))
        return
    for entry in read_archive(source):
        found = texts.get(entry.file, {}) if isinstance(entry, ArchivePage) else {}
        if not isinstance(entry, ArchivePage) or not found:
            continue
        part = entry.id.partition("#")[2]
        if part in found:
            yield entry.id, place_page_text(in_pixels(entry), found[part])
            continue
        parts = {region.id for region in entry.layout.regions} | {line.id for line in entry.layout.lines}
        if parts & found.keys():
            yield entry.id, place_part_texts(in_pixels(entry), found)


def in_pixels(page: ArchivePage) -> Layout:
    """The layout with coordinates in the pixels of the page's image; as it is without one."""
    return page.layout if page.image is None else page.layout.scaled(page.image().size)
