"""Whether a file or folder can be written, and may be, found out before the hours of work that fill it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

from ocr_verifiers.files.jsonl import RecordError


def file_trouble(path: Path) -> str:
    """What keeps a file from being written at `path`, in words; empty if nothing does. Its folder must exist."""
    try:
        folder = path.absolute().parent
        if not folder.is_dir():
            return f"the folder {path.parent} {'is a file' if folder.exists() else 'does not exist'}"
        if path.exists() and not path.is_file():
            return f"{path} is {'a folder' if path.is_dir() else 'no regular file'}; give the name of a file"
        if path.exists() and not os.access(path, os.W_OK):
            return f"{path} is read-only"
        return _trial(folder)
    except OSError as error:  # such as a name that is too long
        return str(error.strerror)


def folder_trouble(path: Path) -> str:
    """What keeps `path` from being a folder to write to, in words; empty if nothing does. It need not exist yet."""
    try:
        there = path.absolute()
        while not os.path.lexists(there):
            there = there.parent
        return _trial(there) if there.is_dir() else f"{there} is a file, not a folder"
    except OSError as error:
        return str(error.strerror)


def refuse_overwriting(outputs: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """Raises RecordError for an output that is an input, or another output."""
    read = {path.resolve() for path in inputs}
    written: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        if path.resolve() in read:
            raise RecordError(f"{path}: is also read; write to another file")
        if path.resolve() in written:
            raise RecordError(f"{path}: is given for two outputs; write to two files")
        written.add(path.resolve())


def _trial(folder: Path) -> str:
    """Rights do not tell about read-only file systems, and not what root may do: a file does."""
    try:
        with TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"the folder {folder} cannot be written to: {error.strerror}"
