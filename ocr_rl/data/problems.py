"""What is wrong with a dataset, and where: types that all readers of datasets share.

A reader reports each problem and continues: `load_pages` raises the problems as one error, `check_dataset` lists them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocr_rl.data.images import ImageError
from ocr_rl.types import Page
from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.unit_tests.records import parse_test


@dataclass(frozen=True)
class Problem:
    file: str
    """The path as the user gave it, or the id of a hub dataset."""
    line: int | None
    """Line of a JSONL file or row of a table, from 1."""
    field: str | None
    message: str

    def __str__(self) -> str:
        field = "" if self.field is None else f'"{self.field}" '
        return f"{Location(self.file, self.line)}: {field}{self.message}"


ReportProblem = Callable[[Problem], None]


@dataclass(frozen=True)
class Location:
    """A file of a dataset, and a line or row in it."""

    file: str
    line: int | None = None
    offset: int = field(default=0, compare=False, repr=False)
    """Bytes before the line of a JSONL file."""

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def problem(self, field: str | None, message: str) -> Problem:
        return Problem(self.file, self.line, field, message)


@dataclass(frozen=True)
class Found:
    """A page, and where it is in the dataset."""

    page: Page
    location: Location
    image_field: str | None = None
    image_name: str | None = None
    """The file name in the image field, if it holds one."""
    text_location: Location | None = None
    """Where the text is, if it is in a file of its own."""

    def is_broken(self, problems: Iterable[Problem]) -> bool:
        """Whether one of the problems is at the page's row or text."""
        place = self.text_location or self.location
        return any((problem.file, problem.line) == (place.file, place.line) for problem in problems)

    def unlabelled(self) -> Problem | None:
        """That the page has nothing to be scored by, if so."""
        if self.page.text is not None or self.page.tests:
            return None
        what = f"the page {self.page.id} has neither a text nor tests; reward.weights.consensus needs neither"
        return self.location.problem(None, what)

    def unreadable(self) -> Problem | None:
        """Why the image cannot be opened."""
        try:
            self.page.open_image()
        except ImageError as error:
            return self.image_problem(error)
        return None

    def image_problem(self, error: ImageError) -> Problem:
        which = "" if self.image_name is None else f"names {self.image_name}, which "
        return self.location.problem(self.image_field, which + error.reason)


def json_lines(file: Path, report: ReportProblem) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The objects of a JSONL file, each with its location. Empty lines are skipped, invalid ones are reported."""
    name = str(file)
    for number, offset, line in raw_lines(file):
        location = Location(name, number, offset)
        if (row := object_in(line, location, report)) is not None:
            yield location, row


def raw_lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """(its number, from 1; the bytes before it; the line) of each line of a file that is not empty."""
    offset = 0
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.isspace():
                yield number, offset, line
            offset += len(line)


def object_in(line: bytes, location: Location, report: ReportProblem) -> dict[str, Any] | None:
    """The object in a line of a JSONL file; None if it is invalid, which is reported."""
    line = line.removesuffix(b"\n").removeprefix(BOM_UTF8)
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        report(location.problem(None, f"not UTF-8 (byte {error.start + 1} of the line)"))
    except json.JSONDecodeError as error:
        report(location.problem(None, f"not JSON: {error.msg} at column {error.colno}"))
    else:
        if isinstance(row, dict):
            return row
        report(location.problem(None, f"a line must hold one JSON object, not {type(row).__name__}"))
    return None


def json_at(file: Path, offset: int) -> dict[str, Any]:
    """The object in the line that begins at this byte of a JSONL file that was read before.

    Raises ValueError if the file has changed since.
    """
    try:
        with open(file, "rb") as lines:
            lines.seek(offset)
            row = json.loads(lines.readline().decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: has changed since it was read ({error}); start again") from None
    if not isinstance(row, dict):
        raise ValueError(f"{file}: has changed since it was read; start again")
    return row


def csv_rows(file: Path, report: ReportProblem) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The rows of a CSV file with a header, each with the line where it begins. An empty cell is an absent key."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report(Problem(str(file), None, None, f"not UTF-8 (byte {error.start + 1})"))
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    while True:
        location = Location(str(file), reader.line_num + 1)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            report(location.problem(None, f"not CSV: {error}"))
            return
        if cells is None:
            return
        if not names:
            names = cells
        elif len(cells) > len(names):
            report(location.problem(None, f"has {len(cells)} cells, but the header names {len(names)}"))
        elif any(cells):
            yield location, {name: cell for name, cell in zip(names, cells, strict=False) if cell}


def tests_in(file: Path, report: ReportProblem) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The valid tests of a JSONL file and their locations. Ids are unique within a file, as in olmOCR-bench."""
    lines: dict[str, int | None] = {}
    for location, record in json_lines(file, report):
        if valid_test(record, location, report):
            if record["id"] in lines:
                report(location.problem("id", f"is {record['id']}, as on line {lines[record['id']]}; ids are unique"))
            lines.setdefault(record["id"], location.line)
            yield location, record


def valid_test(record: Mapping[str, Any], location: Location, report: ReportProblem) -> bool:
    """Whether `ocr_verifiers` accepts the test; if not, its error is reported."""
    try:
        parse_test(dict(record), str(location))
    except RecordError as error:
        error_parts = re.fullmatch(r'(?:"(\w+)" )?(.*)', str(error).removeprefix(f"{location}: "), re.DOTALL)
        assert error_parts
        report(location.problem(error_parts[1], error_parts[2]))
        return False
    return True


def with_newlines(text: str) -> str:
    r"""The text with `\n` for each line end, whichever system wrote it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def report_text(text: str, location: Location, field: str | None, tested: bool, report: ReportProblem) -> None:
    """Reports a text that cannot be a reference. An empty one is allowed if the page has tests."""
    if not text.strip() and not tested:
        report(location.problem(field, "is empty; for a blank page, add a baseline test with max_length"))
    try:
        text.encode()
    except UnicodeEncodeError:
        report(location.problem(field, "holds half of a surrogate pair, which is not a character"))
