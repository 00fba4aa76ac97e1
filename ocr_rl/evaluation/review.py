"""The rows of `ocr-rl transcribe --confidence` with their pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from ocr_rl.data.archives.crops import Crop
from ocr_rl.evaluation.transcribe import pages_of
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.types import Page
from ocr_verifiers import read_jsonl

Row = Mapping[str, Any]
Place = Annotated[int, Field(strict=True, ge=0)]
Sure = Annotated[float, Field(strict=True, ge=0, le=1)]


@dataclass
class Transcribed:
    """What a row needs; it may have more."""

    id: str
    text: str
    confidence: Sure
    words: list[tuple[Place, Place, Sure]]
    """[start, end, confidence], in order."""
    spans: list[tuple[Place, Place, Sure]]
    samples: list[str]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Source:
    """Where the images are, and what of them is a page."""

    data: str = ""
    crop: Crop = field(default_factory=Crop)


def review_rows(
    file: Path, source: Path | None, choose: Callable[[Sequence[Row]], Sequence[Row]], console: Console = SILENT
) -> tuple[Sequence[Row], dict[str, Page]]:
    """The rows that are chosen, in the order of choosing, and their pages by id. Those with an "error" are left out.

    Raises:
        ValueError: with file and line, if a row is not of a transcription with confidences, or its page is on an
            earlier line; the file does not say where its images are, or they are not there.
    """
    rows = []
    for line, row in _once(file):
        _check(row, f"{file}:{line}")
        rows.append(row)
    settings = _settings(file)
    if source is None:
        if not settings.data:
            raise ValueError(f"{file}: no {file.stem}.settings.json beside it says where the images are; add --data")
        source = Path(settings.data)
        if not source.exists():
            raise ValueError(f"{file}: its images were in {source}, which does not exist; add --data")
    chosen = choose(rows)
    wanted = {row["id"] for row in chosen}
    pages: dict[str, Page] = {}
    with console.bar("finding images", len(wanted)) as report:
        for page in pages_of(source, settings.crop):
            if isinstance(page, Page) and page.id in wanted:
                pages[page.id] = page
                report(len(pages))
    if missing := [row["id"] for row in chosen if row["id"] not in pages]:
        raise ValueError(f"{file}: {missing[0]} is not in {source}; give the source of the transcriptions as --data")
    return chosen, pages


def chosen_rows(rows: Sequence[Row], only: Path) -> list[Row]:
    """The rows whose ids a file of rows names, in its order. Raises ValueError for an unknown id or one given twice."""
    known = {row["id"]: row for row in rows}
    chosen = []
    for line, row in _once(only):
        if row["id"] not in known:
            raise ValueError(f'{only}:{line}: "id" is {row["id"]!r}, which has no transcription; leave it out')
        chosen.append(known[row["id"]])
    return chosen


def _once(file: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a file without an "error", with their lines. Raises ValueError for one without an id or a repeat."""
    lines: dict[str, int] = {}
    for line, row in read_jsonl(file):
        if "error" in row:
            continue
        name = row.get("id")
        if not isinstance(name, str):
            raise ValueError(f'{file}:{line}: "id" is {name!r:.60}; write the name of the page')
        if name in lines:
            raise ValueError(f'{file}:{line}: "id" is {name!r}, as on line {lines[name]}; keep one line of each page')
        lines[name] = line
        yield line, row


def _settings(file: Path) -> Source:
    """Those that a transcription keeps beside its rows. Raises ValueError if they are damaged."""
    beside = file.with_suffix(".settings.json")
    if not beside.exists():
        return Source()
    advice = "transcribe the pages again, or remove the file and add --data"
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        known = {name: found[name] for name in ("data", "crop") if name in found}
        return TypeAdapter(Source).validate_python(known)
    except ValidationError as error:
        where, value, _ = _first(error)
        raise ValueError(f'{beside}: "{where}" is {value!r:.60}; {advice}') from None
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"{beside}: holds no JSON object; {advice}") from None


def _check(row: Row, where: str) -> None:
    try:
        found = TypeAdapter(Transcribed).validate_python(row)
    except ValidationError as error:
        name, value, missing = _first(error)
        if missing and name in Transcribed.__dataclass_fields__:
            advice = "write it with `ocr-rl transcribe --samples 8 --confidence`"
            raise ValueError(f'{where}: has no "{name}"; {advice}') from None
        raise ValueError(f'{where}: "{name}" is {value!r:.60}; transcribe the page again with --confidence') from None
    for name, units in (("words", found.words), ("spans", found.spans)):
        after = 0
        for number, (start, end, _) in enumerate(units):
            if not after <= start <= end <= len(found.text):
                what = f"do not follow on {after} in a text of {len(found.text)} characters"
                raise ValueError(
                    f'{where}: "{name}.{number}" is from {start} to {end}, which {what}; transcribe the page again '
                    "with --confidence"
                )
            after = end


def _first(error: ValidationError) -> tuple[str, object, bool]:
    """Of the first mistake the field, the value, and whether it is that the field is missing."""
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])), first["input"], first["type"] == "missing"
