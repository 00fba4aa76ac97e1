"""Files and folders that are complete or absent: written beside their path, then renamed to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """A UTF-8 file to write. At the end of the block it is on disk at `path`; if the block fails, nothing changes."""
    partial = path.with_name(path.name + ".partial")
    try:
        with addressed(path), open(partial, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill. At the end of the block it is on disk at `path`, where nothing was before.

    If the block fails, nothing changes, and a full disk gets its room back.
    """
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with addressed(path):
            partial.mkdir(parents=True)
            yield partial
            for written in partial.rglob("*"):
                fsync_path(written)
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    fsync_path(path.parent)


def delete_folder(path: Path) -> None:
    """Delete a folder so that it is never seen half deleted."""
    doomed = path.with_name(path.name + ".deleted")
    os.replace(path, doomed)
    shutil.rmtree(doomed)


@contextmanager
def addressed(path: Path) -> Iterator[None]:
    """An OSError names its file, even where Python leaves it out: writing on a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def fsync_path(path: Path) -> None:
    """Write a file, or a folder's list of names, to disk, so that a power cut cannot undo it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
