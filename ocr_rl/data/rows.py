"""Datasets with one row per page in a JSONL or CSV file, which names image files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ocr_rl.data.cells import LONGEST_PATH, find_file, from_base64, one_image, similar_file
from ocr_rl.data.columns import image_cell, name_columns, page_of_row
from ocr_rl.data.images import TIFF_SUFFIXES, EncodedImage, ImageError, ImageFile, tiff_frames
from ocr_rl.data.problems import Found, Location, ReportProblem, csv_rows, json_at, json_lines, tests_in

NUMBERED = re.compile(r"(.+\.tiff?)#([1-9]\d*)", re.IGNORECASE)
Records = Callable[[str], Sequence[Mapping[str, Any]]]
"""The records of tests beside the rows, by the name of an image."""


@dataclass(frozen=True)
class RowReader:
    """Makes the page of a row."""

    file: Path
    roles: Mapping[str, str]
    """The column of each role."""
    folder: str = ""
    """Put before ids that are names of images."""

    @property
    def image(self) -> str:
        """The column of the image."""
        return self.roles.get("image", self.roles.get("messages", ""))

    def found(
        self, row: Mapping[str, Any], location: Location, records: Records, report: ReportProblem
    ) -> Found | None:
        """The page; None if it has no image, which is reported."""
        try:
            name = one_image(image_cell(row, self.roles), str(location))
        except ImageError as error:
            report(location.problem(self.image, error.reason))
            return None
        if not isinstance(name, str) or not name:
            report(location.problem(self.image, "must name an image file"))
            return None
        beside = records(name)
        try:
            page_id, opener = _named_image(self.file, name)
        except ImageError as error:
            report(location.problem(self.image, error.reason))
            return None
        shown = name if len(name) <= LONGEST_PATH else None
        page = page_of_row(row, self.roles, self.folder + page_id, opener, beside, location, report)
        return Found(page, location, self.image, shown)


def read_rows(file: Path, columns: Mapping[str, str], report: ReportProblem, folder: str = "") -> Iterator[Found]:
    """JSONL or CSV rows that name image files, as in a Hugging Face `imagefolder`.

    A page's id is the name of its image file, unless `columns` names an id; `folder` is put before it. `book.tif#3` is
    the third page of a TIFF. A `tests.jsonl` next to the file holds olmOCR-bench records whose `pdf` is the name of the
    image file and whose `page` is 1. The rows of a JSONL file are never in memory together.
    """
    reader = row_reader(file, columns, report, folder)
    if reader is None:
        return
    tests = RowTests(file, report)
    for location, row in _read(file, lambda problem: None):  # what cannot be read was reported with the columns
        if (found := reader.found(row, location, tests.of_image, report)) is not None:
            yield found
    tests.report_unclaimed(report)


def row_reader(file: Path, columns: Mapping[str, str], report: ReportProblem, folder: str = "") -> RowReader | None:
    """The reader for a file whose rows have these columns; None if there are no rows. Reads the whole file."""
    names = {key for _, row in _read(file, report) for key in row}
    return reader_of(file, names, columns, folder) if names else None


def reader_of(file: Path, names: Set[str], columns: Mapping[str, str], folder: str = "") -> RowReader:
    """The reader for a file whose rows have columns of these `names`."""
    standard = {"image": "file_name"} if "file_name" in names else {}
    roles = name_columns(standard | dict(columns), names, str(file))
    roles.pop("id", None)
    if "id" in columns:
        roles["id"] = columns["id"]
    return RowReader(file, roles, folder)


def _read(file: Path, report: ReportProblem) -> Iterator[tuple[Location, dict[str, Any]]]:
    return (csv_rows if file.suffix == ".csv" else json_lines)(file, report)


class RowTests:
    """The tests beside a file of rows, by the name of the image; only their places are in memory."""

    def __init__(self, file: Path, report: ReportProblem) -> None:
        self.rows, self.file = file, self.beside(file)
        self._places: dict[str, list[Location]] = defaultdict(list)
        for location, record in tests_in(self.file, report) if self.file.is_file() else ():
            if record["page"] != 1:
                report(location.problem("page", f"is {record['page']}, but an image is its own page 1"))
            self._places[record["pdf"]].append(location)

    @staticmethod
    def beside(file: Path) -> Path:
        """Where the tests of a file of rows are."""
        return file.with_name("tests.jsonl")

    def __contains__(self, name: object) -> bool:
        """Whether an image has records that no row has claimed yet."""
        return name in self._places

    def of_image(self, name: str) -> list[dict[str, Any]]:
        """The records of an image, for the first row that names it."""
        return self.at(self.claim(name))

    def claim(self, name: str) -> list[int]:
        """Where the records of an image are in the file, for the first row that names it."""
        return [place.offset for place in self._places.pop(name, ())]

    def at(self, offsets: Iterable[int]) -> list[dict[str, Any]]:
        """The records at these bytes of the file."""
        return [json_at(self.file, offset) for offset in offsets]

    def report_unclaimed(self, report: ReportProblem) -> None:
        for name, places in self._places.items():
            for place in places:
                report(place.problem("pdf", f"names {name}, which is not a page of {self.rows.name}"))


def _named_image(file: Path, name: str) -> tuple[str, ImageFile | EncodedImage]:
    """The id and the image that a row of `file` names. Raises ImageError if there is no such file, or page of it."""
    if (encoded := from_base64(name)) is not None:
        return sha256(encoded).hexdigest()[:16], EncodedImage(encoded)
    numbered = NUMBERED.fullmatch(name)
    written, number = (numbered[1], int(numbered[2])) if numbered else (name, None)
    direct = os.path.join(os.path.dirname(file), written)
    exact = os.path.isfile(direct)
    if exact and not written.lower().endswith(tuple(TIFF_SUFFIXES)):
        return name, ImageFile(Path(direct))
    folder = file.parent
    path = Path(direct) if exact else find_file(folder, written) or (find_file(folder, name) if numbered else None)
    if path is None:
        shown = name if len(name) <= LONGEST_PATH else f"a file of {len(name):,} characters"
        kind, hint = file.suffix[1:].upper(), similar_file(folder, written) if len(name) <= LONGEST_PATH else ""
        raise ImageError(name, f"names {shown}, which does not exist; paths are relative to the {kind} file{hint}")
    page_id = name if exact or path == folder / written else path.relative_to(folder).as_posix()
    if not path.name.lower().endswith(tuple(TIFF_SUFFIXES)):
        return page_id, ImageFile(path)
    frames = tiff_frames(path)
    if number is None and len(frames) > 1:
        last = len(frames)
        rows = f"{name}#1 to {name}#{last}"
        raise ImageError(name, f"names {name}, which has {last} pages; write a row for each, {rows}")
    if number is not None and number > len(frames):
        raise ImageError(name, f"names page {number} of {written}, which has {len(frames)}")
    return page_id, ImageFile(path, frames[number - 1] if number else None)
