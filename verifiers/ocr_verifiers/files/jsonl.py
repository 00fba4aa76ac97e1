"""Reads JSON Lines with errors that name file and line; writes files completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


class RecordError(ValueError):
    """A mistake in a file that its author can fix; the message names file, line and field and says what to write."""


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """`parse_jsonl` on a file, read line by line. Raises RecordError if it cannot be read."""
    try:
        with open(path, "rb") as lines:
            yield from parse_jsonl(lines, str(path))
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error


def parse_jsonl(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with their line numbers, from 1. Error messages start with `name`.

    Blank lines are skipped. Raises RecordError for a line that is not UTF-8, not JSON or not an object, or that gives
    a field twice.
    """
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            record = json.loads(line.decode("utf-8"), object_pairs_hook=_unique_fields)
        except UnicodeDecodeError as error:
            raise RecordError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
        except json.JSONDecodeError as error:
            raise RecordError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:  # an integer of 5,000 digits raises ValueError
            raise RecordError(f"{where}: {error}") from error
        if not isinstance(record, dict):
            raise RecordError(f"{where}: {short_json(record)} is not an object; write one {{...}} per line")
        yield number, record


def write_json_atomic(path: str | Path, data: object) -> None:
    """Writes JSON with `write_text_atomic`. Lone surrogates become JSON escapes again."""
    write_text_atomic(path, json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def write_text_atomic(path: str | Path, text: str) -> None:
    """Writes text with `atomic_file`. UTF-8 cannot hold lone surrogates; they are written as \\udc80."""
    with atomic_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


@contextmanager
def atomic_file(path: str | Path, keep_partial: bool = False) -> Iterator[BinaryIO]:
    """A file to write that replaces `path` at the end of the block: readers see the old file or the complete new one.

    It is written beside `path`, synced to disk and renamed. If the block raises, it is deleted; with `keep_partial`,
    what was written stays in `<path>.part`. An OSError becomes a RecordError.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.part" if keep_partial else f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # after the rename there is nothing to delete
            if not keep_partial or not partial.stat().st_size:
                partial.unlink()


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in pairs:
        if name in record:
            raise RecordError(f'"{name}" is given twice; keep one')
        record[name] = value
    return record


def short_json(value: object) -> str:
    """A value as JSON, cut to 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:59] + "…"
