"""Rows of JSON Lines files that describe pages: the name of a row, and the file and page it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ocr_verifiers.files.jsonl import RecordError, read_jsonl
from ocr_verifiers.text.quoting import quoted

PageKey = tuple[str, int]
"""A file and a page of it, from 1."""

_NUMBERED = re.compile(r"(.*\S.*)#([1-9][0-9]{0,8})", re.DOTALL | re.ASCII)


class PageRow(NamedTuple):
    """One row."""

    where: str
    """File and line, for error messages: `metadata.jsonl:17`."""
    name: str
    text: str | None
    """The transcription; None if the row has none."""
    row: Mapping[str, Any]


def read_page_rows(path: str | Path) -> Iterator[PageRow]:
    """The rows of a file, each named by its `file_name`, or by its `id` if it has no `file_name`.

    Raises RecordError for a row without a name, a text that is not a string, a page that occurs twice (`a.pdf` and
    `a.pdf#1` are the same page) and a file without rows.
    """
    seen: dict[PageKey, str] = {}
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        name = row.get("file_name", row.get("id"))
        if not isinstance(name, str) or not name.strip():
            raise RecordError(f'{where}: "file_name" (or "id") is not a string; write the name of the page')
        page = page_of(name)
        if page in seen:
            raise RecordError(f"{where}: {quoted(name)} is the same page as {seen[page]}; keep one")
        seen[page] = f"line {number}"
        text = row.get("text")
        if not isinstance(text, str | None):
            raise RecordError(f'{where}: "text" of {quoted(name)} is not a string; leave it out if there is none')
        yield PageRow(where, name, text, row)
    if not seen:
        raise RecordError(f"{path}: has no rows")


def page_of(name: str) -> PageKey:
    """The file and page that a row's name stands for: `a.pdf#2` is page 2 of `a.pdf`; `a.png` is page 1 of itself."""
    numbered = _NUMBERED.fullmatch(name)
    return (numbered[1], int(numbered[2])) if numbered else (name, 1)
