"""Transcriptions as PAGE-XML, ALTO or hOCR: a file for each page, beside the rows that they are made from."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from ocr_rl.data.archives.alto import write_alto
from ocr_rl.data.archives.choice import reads_layouts
from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.hocr import write_hocr
from ocr_rl.data.archives.layout import Layout, Line, Region, box_points
from ocr_rl.data.archives.page_xml import write_page_xml
from ocr_rl.data.archives.pages import ArchivePage, read_archive
from ocr_rl.data.archives.placing import place_page_text, place_part_texts
from ocr_rl.data.lines.finding import find_lines
from ocr_rl.data.unlabelled import Unread, walk_pages
from ocr_rl.runs.atomic import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

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
    for name, layout in _transcribed(source, crop, _rows(folder / "pages.jsonl")):
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


Row = Mapping[str, Any]


def _rows(rows: Path) -> dict[str, dict[str, Row]]:
    """The rows of a file that have a text: {file: {page, region or line: row}}; "" is the file's only page."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    with open(rows, encoding="ascii") as file:
        for row in map(json.loads, file):
            if "error" not in row:
                name, _, part = row["id"].partition("#")
                found[name][part] = row
    return found


def _transcribed(source: Path, crop: Crop, rows: dict[str, dict[str, Row]]) -> Iterator[tuple[str, Layout]]:
    """(the page, its layout with the texts that it has now); pages without any are left out."""
    if not reads_layouts(source, crop):
        for page in walk_pages(source):
            name, _, part = page.id.partition("#")
            if not isinstance(page, Unread) and part in rows.get(name, {}):
                row = rows[name][part]
                placed = replace(_layout_of_text(page.open_image(), row), image=PurePosixPath(name).name)
                yield page.id, sure_layout(placed, {"": row})
        return
    for entry in read_archive(source):
        found = rows.get(entry.file, {}) if isinstance(entry, ArchivePage) else {}
        if not isinstance(entry, ArchivePage) or not found:
            continue
        part = entry.id.partition("#")[2]
        if part in found:
            placed = place_page_text(in_pixels(entry), found[part]["text"])
            yield entry.id, sure_layout(placed, {"": found[part]})
            continue
        parts = {region.id for region in entry.layout.regions} | {line.id for line in entry.layout.lines}
        if parts & found.keys():
            placed = place_part_texts(in_pixels(entry), {part: row["text"] for part, row in found.items()})
            yield entry.id, sure_layout(placed, found)


def _layout_of_text(image: Image, row: Row) -> Layout:
    """The text on the lines that it was read from, if these were found on the image; otherwise in one region."""
    if row.get("found_lines"):
        layout = find_lines(image)
        texts = row["text"].split("\n")
        if len(layout.lines) == len(texts):
            return place_part_texts(layout, {line.id: own for line, own in zip(layout.lines, texts, strict=True)})
    whole = Region("r1", "", box_points(0, 0, *image.size), own_text=row["text"])
    return Layout("", image.size, (whole,))


def sure_layout(layout: Layout, rows: Mapping[str, Row]) -> Layout:
    """The layout with how sure its words and lines are, as far as the rows say it.

    A row is that of the whole page, "", or of the region or line with its id. The words of its text have been put on
    lines in their order, or are a region's own text; another own text is as it was. A line is as sure as the least sure
    line of the row that its words come from.
    """
    on_lines = any(line.text for line in layout.lines)
    of_page = rows[""]["text"] if "" in rows and not on_lines else None
    words = {part: iter(_sure_words(row)) for part, row in rows.items() if "words" in row}

    def sure_line(line: Line, region: Iterator[_SureWord] | None) -> Line:
        own = list(islice(words.get(line.id) or region or iter(()), len(line.text.split())))
        if not own:
            return line
        return replace(line, confidence=min(one.line for one in own), confidences=tuple(one.word for one in own))

    def sure_region(region: Region) -> Region:
        source = words.get(region.id) or words.get("")
        lines = tuple(sure_line(line, source) for line in region.lines)
        new = region.id in rows or region.own_text == of_page
        count = len(region.own_text.split()) if new and not any(line.text for line in lines) else 0
        own = islice(source or iter(()), count)
        return replace(region, lines=lines, confidences=tuple(one.word for one in own))

    return replace(layout, regions=tuple(map(sure_region, layout.regions))) if words else layout


class _SureWord(NamedTuple):
    word: float
    """How sure it is."""
    line: float
    """How sure the line of the text is that it is in."""


def _sure_words(row: Row) -> Iterator[_SureWord]:
    lines = deque(row["lines"])
    for start, _, word in row["words"]:
        while lines[0][1] <= start:
            lines.popleft()
        yield _SureWord(word, lines[0][2])


def in_pixels(page: ArchivePage) -> Layout:
    """The layout with coordinates in the pixels of the page's image; as it is without one."""
    return page.layout if page.image is None else page.layout.scaled(page.image().size)
