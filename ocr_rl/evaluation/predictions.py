"""Transcriptions from a file of predictions, or from an earlier evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from ocr_rl.types import Completion, FinishReason, Page
from ocr_verifiers import read_jsonl


def read_predictions(
    path: Path, pages: Sequence[Page], skip_unknown: bool = False
) -> tuple[list[Page], list[Completion]]:
    """The pages that a file transcribes, in its order, and their transcriptions.

    The file has rows {id or file_name, text}, one per line; a `.json` file is an evaluation, whose `pages` are such
    rows. A row may have a `finish_reason`; without one it counts as finished.

    Raises:
        ValueError: a row has no text, an unknown finish reason, an unknown page (unless those are skipped), or a page
            that an earlier row has; there are no rows, or none for these pages.
    """
    by_id = {page.id: page for page in pages}
    seen: set[str] = set()
    found: dict[str, Completion] = {}
    for where, row in _rows(path):
        page_id, text, reason = row.get("id", row.get("file_name")), row.get("text"), row.get("finish_reason", "end")
        if not isinstance(text, str):
            raise ValueError(f'{where}: "text" is {text!r}; write the transcription as a string')
        if reason not in get_args(FinishReason):
            known = ", ".join(get_args(FinishReason))
            raise ValueError(f'{where}: "finish_reason" is {reason!r}; write one of {known}, or leave it out')
        if not isinstance(page_id, str) or (page_id not in by_id and not skip_unknown):
            raise ValueError(f"{where}: no page {page_id!r} in the data; write an id or file_name that it has")
        if page_id in seen:
            raise ValueError(f"{where}: {page_id!r} is transcribed by an earlier row; write one row per page")
        seen.add(page_id)
        if page_id in by_id:
            found[page_id] = Completion((), text, reason, ())
    if not seen:
        raise ValueError(f"{path}: holds no transcriptions")
    if not found:
        raise ValueError(f"{path}: transcribes none of the pages")
    return [by_id[page_id] for page_id in found], list(found.values())


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row and its place in the file."""
    if path.suffix != ".json":
        for line, row in read_jsonl(path):
            yield f"{path}:{line}", row
        return
    try:
        rows = [dict(row) for row in json.loads(path.read_text(encoding="utf-8"))["pages"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(
            f"{path}: not an evaluation as `ocr-rl eval --json` writes it; the name of a file of rows {{id, text}}, "
            "one per line, must end in .jsonl"
        ) from None
    for number, row in enumerate(rows, 1):
        yield f"{path}: page {number}", row
