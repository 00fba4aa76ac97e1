"""What is wrong with a dataset, and where: the vocabulary of everything that reads one.

A reader reports each problem and goes on: `load_pages` raises what was reported, `check_dataset` lists it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocr_rl.data.images import ImageError
from ocr_rl.types import Page
from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.unit_tests.records import parse_test


@dataclass(frozen=True)
class Problem:
    file: str
    """As the dataset's path was given; of a hub dataset, its id."""
    line: int | None
    """Of a JSONL file, or the row of a table; both count from 1."""
    field: str | None
    message: str

    def __str__(self) -> str:
        field = "" if self.field is None else f'"{self.field}" '
        return f"{Location(self.file, self.line)}: {field}{self.message}"


ReportProblem = Callable[[Problem], None]


@dataclass(frozen=True)
class Location:
    """Where a dataset states something."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def problem(self, field: str | None, message: str) -> Problem:
        return Problem(self.file, self.line, field, message)


@dataclass(frozen=True)
class Found:
    """A page, and where the dataset states it."""

    page: Page
    place: Location
    image_field: str | None = None
    image_name: str | None = None
    """What the image field says, where that is a file name."""

    def image_problem(self, error: ImageError) -> Problem:
        which = "" if self.image_name is None else f"names {self.image_name}, which "
        return self.place.problem(self.image_field, which + error.reason)


def json_lines(file: Path, report: ReportProblem) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The objects of a JSONL file, each with its place. Empty lines are skipped, broken ones reported."""
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        place = Location(str(file), number)
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            report(place.problem(None, f"not UTF-8 (byte {error.start + 1} of the line)"))
        except json.JSONDecodeError as error:
            report(place.problem(None, f"not JSON: {error.msg} at column {error.colno}"))
        else:
            if isinstance(row, dict):
                yield place, row
            else:
                report(place.problem(None, f"a line must hold one JSON object, not {type(row).__name__}"))


def tests_in(file: Path, report: ReportProblem) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The valid tests of a JSONL file and their places. Ids are unique within a file, as in olmOCR-bench."""
    lines: dict[str, int | None] = {}
    for place, record in json_lines(file, report):
        if valid_test(record, place, report):
            if record["id"] in lines:
                report(place.problem("id", f"is {record['id']}, as on line {lines[record['id']]}; ids are unique"))
            lines.setdefault(record["id"], place.line)
            yield place, record


def valid_test(record: Mapping[str, Any], place: Location, report: ReportProblem) -> bool:
    """True if `ocr_verifiers` knows the test; else its complaint is reported."""
    try:
        parse_test(dict(record), str(place))
    except RecordError as error:
        complaint = re.fullmatch(r'(?:"(\w+)" )?(.*)', str(error).removeprefix(f"{place}: "), re.DOTALL)
        assert complaint
        report(place.problem(complaint[1], complaint[2]))
        return False
    return True


def report_text(text: str, place: Location, field: str | None, tested: bool, report: ReportProblem) -> None:
    """Report a text that cannot be a reference. An empty one can, if tests say what a blank page may hold."""
    if not text.strip() and not tested:
        report(place.problem(field, "is empty; for a blank page, add a baseline test with max_length"))
    try:
        text.encode()
    except UnicodeEncodeError:
        report(place.problem(field, "holds half of a surrogate pair, which is no character"))
