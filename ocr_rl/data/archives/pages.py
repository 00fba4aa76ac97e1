"""The pages of an export, whatever it is: one file, a folder, a METS or a zip."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_rl.data.archives.alto import read_alto
from ocr_rl.data.archives.hocr import read_hocr
from ocr_rl.data.archives.layout import Layout
from ocr_rl.data.archives.mets import files_of_mets
from ocr_rl.data.archives.page_xml import read_page_xml
from ocr_rl.data.archives.sources import Folder, Source, Zip, find_image
from ocr_rl.data.archives.xml import HEAD, LAYOUT_KINDS, SUFFIXES, ArchiveError, Kind, kind_of, parse_xml

if TYPE_CHECKING:
    from PIL.Image import Image

READERS: dict[str, Callable[[Any], list[Layout]]] = {
    "page-xml": read_page_xml,
    "alto": read_alto,
    "hocr": read_hocr,
}
FORMAT_FOLDERS = frozenset({"page", "pagexml", "page-xml", "page_xml", "alto", "hocr", "xml"})
"""Folders within a document that hold its layout files."""


@dataclass(frozen=True)
class ArchivePage:
    """One page of a layout file."""

    id: str
    """The file's name within the export; `book.hocr#page_2` if the file has several pages."""
    file: str
    shown: str
    """The file in messages."""
    layout: Layout
    image: Callable[[], Image] | None
    problem: str = ""
    """Why it has no image; it continues a sentence that begins with its name."""
    document: str = ""
    """What it belongs to; empty if nothing says that it belongs to more than itself."""


@dataclass(frozen=True)
class BadFile:
    """A file of an export that cannot be read."""

    id: str
    shown: str
    problem: str
    line: int | None = None


def is_archive(path: Path) -> bool:
    """Whether a zip, a layout file or METS, or a folder with a layout file is at `path`."""
    if path.is_file():
        return path.suffix.lower() == ".zip" or (path.suffix.lower() in SUFFIXES and kind_at(path) is not None)
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            if file.suffix.lower() in SUFFIXES and not name.startswith(".") and kind_at(file) in LAYOUT_KINDS:
                return True
    return False


def kind_at(file: Path) -> Kind | None:
    try:
        with open(file, "rb") as opened:
            return kind_of(opened.read(HEAD))
    except OSError:
        return None


def open_source(path: Path) -> Source:
    """The files at `path`, or beside the single file there. Raises ValueError for what is no zip."""
    if not path.is_file():
        return Folder(path)
    try:
        return Zip(path) if path.suffix.lower() == ".zip" else Folder(path.parent)
    except ArchiveError as error:
        raise ValueError(f"{path}: {error}") from None


def read_archive(path: Path) -> list[ArchivePage | BadFile]:
    """All pages, those of a METS in its order, the others by the names of their files.

    Raises ValueError if there is none.
    """
    source = open_source(path)
    single = path.is_file() and isinstance(source, Folder)
    kinds = _kinds(source, [path.name] if single else source.names())
    bad: list[BadFile] = []
    documents: dict[str, str] = {}
    for name in [name for name, kind in kinds.items() if kind == "mets"]:
        shown = str(path) if single else f"{path}/{name}"
        try:
            listed = files_of_mets(parse_xml(source.read(name), "mets"), posixpath.dirname(name))
        except ArchiveError as error:
            bad.append(BadFile(name, shown, str(error), error.line))
            continue
        for file in listed:
            if posixpath.splitext(file)[1].lower() not in SUFFIXES:
                continue
            found = source.find(file)
            if found is None:
                bad.append(BadFile(name, shown, f"names {file}, which does not exist"))
            else:
                documents.setdefault(found, posixpath.dirname(name) or path.stem)
    if single and kinds.get(path.name) == "mets":
        kinds |= _kinds(source, list(documents))
    ordered = [*documents, *(name for name in kinds if name not in documents)]
    entries: list[ArchivePage | BadFile] = [*bad]
    for name in ordered:
        if kinds.get(name) in LAYOUT_KINDS:
            shown = str(path) if single and name == path.name else f"{source.path}/{name}"
            entries += _read_file(source, name, shown, kinds[name], documents.get(name, _folder_document(name)))
    if not entries:
        raise ValueError(f"{path}: holds no PAGE-XML, ALTO or hOCR")
    return _documents(_once(entries))


def _kinds(source: Source, names: list[str]) -> dict[str, Kind | None]:
    """The kind of each file that may be a layout file or METS."""
    kinds: dict[str, Kind | None] = {}
    for name in names:
        if posixpath.splitext(name)[1].lower() in SUFFIXES:
            try:
                kinds[name] = kind_of(source.read(name, HEAD))
            except ArchiveError:
                kinds[name] = "page-xml"  # reading it says what is wrong
    return kinds


def _read_file(
    source: Source, name: str, shown: str, kind: Kind | None, document: str
) -> Iterator[ArchivePage | BadFile]:
    assert kind is not None
    try:
        layouts = READERS[kind](parse_xml(source.read(name), kind))
    except ArchiveError as error:
        yield BadFile(name, shown, str(error), error.line)
        return
    several = len(layouts) > 1
    for number, layout in enumerate(layouts, 1):
        part = f"#{layout.id or f'page_{number}'}" if several else ""
        image = find_image(source, name, layout.image)
        problem = ""
        if image is None:
            wanted = layout.image or f"an image called {posixpath.basename(name).split('.')[0]}"
            problem = f"names {wanted}, which is neither beside it nor in .., images or ../images; put it there"
        opener = None if image is None else source.image(image)
        layout = layout if image is None else replace(layout, image=posixpath.basename(image))
        yield ArchivePage(name + part, name, shown + part, layout, opener, problem, name if several else document)


def _folder_document(name: str) -> str:
    """The folder of a file, without a last part that names a format; empty at the top."""
    parts = posixpath.dirname(name).split("/")
    while parts and parts[-1].lower() in FORMAT_FOLDERS:
        parts.pop()
    return "/".join(parts)


def _once(entries: list[ArchivePage | BadFile]) -> Iterator[ArchivePage | BadFile]:
    """The same page in two formats is a problem of the second."""
    seen: dict[Any, ArchivePage] = {}
    for entry in entries:
        if isinstance(entry, ArchivePage) and entry.image is not None:
            twin = seen.setdefault(entry.image, entry)
            if posixpath.dirname(twin.file) != posixpath.dirname(entry.file):
                why = f"is of the same image as {twin.file}; give the folder of one of them"
                entry = replace(entry, problem=why)
        yield entry


def _documents(entries: Iterator[ArchivePage | BadFile]) -> list[ArchivePage | BadFile]:
    """In an export of one document, pages are documents of their own: otherwise nothing could be held out."""
    found = list(entries)
    counts = Counter(entry.document for entry in found if isinstance(entry, ArchivePage))
    if len(counts) > 1:
        return found
    return [replace(entry, document="") if isinstance(entry, ArchivePage) else entry for entry in found]
