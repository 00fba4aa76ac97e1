"""The rows of `ocr-rl transcribe --confidence` with their pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocr_rl.data.archives.crops import Crop
from ocr_rl.evaluation.transcribe import pages_of
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.types import Page
from ocr_verifiers import read_jsonl

Row = Mapping[str, Any]
NEEDED = {"id": str, "text": str, "confidence": float, "words": list, "spans": list, "samples": list}


def review_rows(
    file: Path, source: Path | None, choose: Callable[[Sequence[Row]], Sequence[Row]], console: Console = SILENT
) -> tuple[Sequence[Row], dict[str, Page]]:
    """The rows that are chosen, in the order of choosing, and their pages by id.

    Raises:
        ValueError: with file and line, if a row is not of a transcription with confidences; the file does not say where
            its images are, or they are not there.
    """
    rows = []
    for line, row in read_jsonl(file):
        if "error" not in row:
            _check(row, f"{file}:{line}")
        rows.append(row)
    settings = _settings(file)
    if source is None:
        if not settings.get("data"):
            raise ValueError(f"{file}: no {file.stem}.settings.json beside it says where the images are; add --data")
        source = Path(settings["data"])
        if not source.exists():
            raise ValueError(f"{file}: its images were in {source}, which does not exist; add --data")
    chosen = choose(rows)
    wanted = {row["id"] for row in chosen}
    pages: dict[str, Page] = {}
    with console.bar("finding images", len(wanted)) as report:
        for page in pages_of(source, Crop(**settings.get("crop", {}))):
            if isinstance(page, Page) and page.id in wanted:
                pages[page.id] = page
                report(len(pages))
    if missing := [row["id"] for row in chosen if row["id"] not in pages]:
        raise ValueError(f"{file}: {missing[0]} is not in {source}; give the source of the transcriptions as --data")
    return chosen, pages


def chosen_rows(rows: Sequence[Row], only: Path) -> list[Row]:
    """The rows whose ids a file of rows names, in its order. Raises ValueError for an id that no row has."""
    known = {row["id"]: row for row in rows if "error" not in row}
    chosen = []
    for line, row in read_jsonl(only):
        if row.get("id") not in known:
            raise ValueError(f'{only}:{line}: "id" is {row.get("id")!r}, which has no transcription; leave it out')
        chosen.append(known[row["id"]])
    return chosen


def _settings(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.with_suffix(".settings.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _check(row: Row, where: str) -> None:
    for name, kind in NEEDED.items():
        if name not in row:
            raise ValueError(f'{where}: has no "{name}"; write it with `ocr-rl transcribe --samples 8 --confidence`')
        if not isinstance(row[name], kind):
            raise ValueError(f'{where}: "{name}" is {row[name]!r:.60}; transcribe the page again with --confidence')
