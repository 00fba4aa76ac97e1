"""JSON Lines with errors that name file and line, and files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class RecordError(ValueError):
    """Something in a file that its author can mend: file, line, field and remedy."""


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """`parse_jsonl` on a file, read line by line. One that cannot be read is a RecordError."""
    try:
        with open(path, "rb") as lines:
            yield from parse_jsonl(lines, str(path))
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error


def parse_jsonl(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON Lines with their line numbers, from 1; `name` opens error messages. Blank lines are skipped.

    A RecordError for a line that is not UTF-8, not JSON, not an object, or that gives a field twice.
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
        except (ValueError, RecursionError) as error:  # an integer of 5,000 digits is a ValueError
            raise RecordError(f"{where}: {error}") from error
        if not isinstance(record, dict):
            raise RecordError(f"{where}: {_json(record)} is not an object; write one {{...}} per line")
        yield number, record


def write_json_atomic(path: str | Path, data: object) -> None:
    """Writes JSON with `write_text_atomic`. A lone surrogate becomes the JSON escape that it came from."""
    write_text_atomic(path, json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def write_text_atomic(path: str | Path, text: str) -> None:
    """Writes text beside `path` and renames it: a reader sees the old file or the new one, never a half."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # UTF-8 cannot hold a lone surrogate, which is written as \udc80.
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(partial, path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in pairs:
        if name in record:
            raise RecordError(f'"{name}" is given twice; keep one')
        record[name] = value
    return record


def _json(value: object) -> str:
    """A value as its file spells it, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:59] + "…"
