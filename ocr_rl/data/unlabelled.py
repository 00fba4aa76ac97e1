"""The pages of a folder of any size, one by one: only PDFs and TIFFs are opened, and no list of pages is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ocr_rl.data.images import (
    IMAGE_SUFFIXES,
    LONGEST_SIDE,
    TIFF_SUFFIXES,
    ImageError,
    ImageFile,
    PdfPage,
    open_pdf,
    tiff_frames,
)
from ocr_rl.data.messages import without_placeholder
from ocr_rl.types import Page


class Unread(NamedTuple):
    """A page or PDF that cannot be read; `why` continues a sentence that starts with its name."""

    id: str
    why: str


def walk_pages(source: Path, prompt: str = "", longest_side: int = LONGEST_SIDE) -> Iterator[Page | Unread]:
    """The pages of an image, a PDF, or a folder of them, sorted by name, without texts or tests.

    File names are held in memory one folder at a time. Raises ValueError if there is no image or PDF.
    """
    found, prompt = False, without_placeholder(prompt)
    for file in _files(source) if source.is_dir() else [source]:
        name = file.relative_to(source).as_posix() if source.is_dir() else file.name
        frames = tiff_frames(file) if file.suffix.lower() in TIFF_SUFFIXES else [0]
        if len(frames) > 1:
            found = True
            for number, frame in enumerate(frames, 1):
                yield Page(f"{name}#{number}", ImageFile(file, frame), prompt)
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            found = True
            yield Page(name, ImageFile(file), prompt)
        elif file.suffix.lower() == ".pdf":
            found = True
            try:
                with open_pdf(file) as pdf:
                    length = len(pdf)
            except ImageError as error:
                yield Unread(name, error.reason)
                continue
            for index in range(length):
                yield Page(f"{name}#{index + 1}", PdfPage(file, index, longest_side), prompt)
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES | {".pdf"}))
        raise ValueError(f"{source}: no image or PDF here; a file must end in one of {kinds}")


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in names:
        path = folder / name
        if is_folder:
            yield from _files(path)
        elif not name.startswith(".") and path.is_file():
            yield path
