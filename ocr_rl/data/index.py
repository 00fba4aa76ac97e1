"""An index of a JSONL file with very many rows: where each row is, and what is asked of all pages before training.

It is kept in the folder `.ocr-rl` beside the file, or where that cannot be written, in the user's cache folder, as
arrays that are mapped into memory. It holds for the file's size and time of change, and for the options of `load_pages`
that it was made with; the images that the rows name are looked for when it is made.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_rl.data.columns import page_of_row
from ocr_rl.data.facts import (
    HALVES_SEED,
    SPLIT_SEED,
    digest_in,
    digest_of,
    document_in,
    position_of,
    split_in,
    split_of,
    values_in,
)
from ocr_rl.data.images import ImageError
from ocr_rl.data.plain_rows import RowContent, plain_rows
from ocr_rl.data.problems import Location, Problem, json_at, json_lines, object_in, raw_lines
from ocr_rl.data.rows import RowReader, RowTests, reader_of
from ocr_rl.types import Page

VERSION = 2
EMPTY = 128
"""Bytes of a .npy file without values, which cannot be mapped."""
ARRAYS = {
    "offset": "Q",  # bytes before the row
    "id": "Q",  # the hash of the page's id
    "digest": "Q",
    "split": "d",  # positions of its document, see `position_of`
    "halves": "d",
    "prompt": "I",  # numbers in `Index.names`
    "stated_split": "I",
    "has_text": "B",
    "has_tests": "B",
    "tests_end": "Q",  # one after its last in `tests`
    "tests": "Q",  # bytes before each test in tests.jsonl
}
"""The columns, and their types as in `array`; all but `tests` have one value for each page."""
RECORD = Struct("=" + "".join(ARRAYS.values())[:-1])
"""These values of one page."""


@dataclass(frozen=True)
class Index:
    """The pages of a file, which are read when they are asked for."""

    reader: RowReader
    prompt: str
    """That of pages which have none."""
    columns: Mapping[str, NDArray[Any]]
    names: Mapping[str, Sequence[str]]
    """The values of `prompt` and `stated_split`."""
    problems: Sequence[Problem] = ()
    """What was left out."""

    def __len__(self) -> int:
        return len(self.columns["offset"])

    def page(self, number: int) -> Page:
        """Raises ValueError if the file has changed since."""
        offset = int(self.columns["offset"][number])
        row, ends = json_at(self.reader.file, offset), self.columns["tests_end"]
        tests = self.columns["tests"][int(ends[number - 1]) if number else 0 : int(ends[number])].tolist()
        beside = RowTests.beside(self.reader.file)
        records = [json_at(beside, at) for at in tests]
        wrong: list[Problem] = []
        location = Location(str(self.reader.file), offset=offset)
        found = self.reader.found(row, location, lambda name: records, wrong.append)
        if found is not None:
            page = with_prompt(found.page, self.prompt)
            if int.from_bytes(digest_of(page), "big") != self.columns["digest"][number]:
                raise ValueError(f"{self.reader.file}: has changed since it was read; start again")
            return page
        reader, image = self.reader, _Missing(wrong[0])
        name = f"{reader.folder}{row.get(reader.image)}"
        page = page_of_row(row, reader.roles, name, image, records, location, wrong.append)
        return with_prompt(page, self.prompt)


@dataclass(frozen=True)
class _Missing:
    """The image of a page whose file has been removed since the index was made."""

    problem: Problem

    def __call__(self) -> Any:
        raise ImageError(self.problem.file, self.problem.message)


def with_prompt(page: Page, prompt: str) -> Page:
    return page if page.prompt or not prompt else replace(page, prompt=prompt)


def id_hash(id: str) -> int:
    return int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Builder:
    """Columns that grow by a page at a time."""

    def __init__(self) -> None:
        self._records, self.tests = bytearray(), array(ARRAYS["tests"])
        self._numbers: dict[str, dict[str, int]] = {"prompt": {}, "stated_split": {}}
        self._document, self._positions = "", (0.0, 0.0)

    def add(self, row: RowContent, digest: bytes, hashed_id: int, offset: int, has_tests: bool = False) -> None:
        """The places of its tests in tests.jsonl are in `tests` already; it may have others."""
        document = document_in(row.id, row.metadata)
        if document != self._document or not self._records:
            self._document = document
            self._positions = position_of(document, SPLIT_SEED), position_of(document, HALVES_SEED)
        prompts, splits = self._numbers.values()
        self._records += RECORD.pack(
            offset,
            hashed_id,
            int.from_bytes(digest, "big"),
            *self._positions,
            prompts.setdefault(row.prompt, len(prompts)),
            splits.setdefault(str(row.metadata.get("split")), len(splits)),
            row.text is not None,
            has_tests,
            len(self.tests),
        )

    def __bool__(self) -> bool:
        return bool(self._records)

    def columns(self) -> dict[str, NDArray[Any]]:
        """As in `Index`."""
        records = np.frombuffer(self._records, [*ARRAYS.items()][:-1])
        columns = {name: np.ascontiguousarray(records[name]) for name in ARRAYS if name != "tests"}
        return columns | {"tests": np.frombuffer(self.tests, self.tests.typecode)}

    def names(self) -> dict[str, list[str]]:
        """As in `Index`."""
        return {name: list(numbers) for name, numbers in self._numbers.items()}


@dataclass(frozen=True)
class IndexOptions:
    """What of `load_pages` decides which pages an index has."""

    where: Mapping[str, Sequence[str]]
    prompt: str
    columns: Mapping[str, str]
    split: str
    labels: bool
    skip: bool
    """Leave pages with a problem out, and open every image to find them."""

    def wants(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it has the values of `where`."""
        return all(not set(values).isdisjoint(values_in(metadata, key)) for key, values in self.where.items())


def build_index(file: Path, options: IndexOptions) -> Index | None:
    """Read and check the whole file; None if anything about it needs a message that only `find_pages` can give.

    The first row says which columns there are. If a later one brings another that matters, the file is read again.
    """
    names = next((set(row) for _, row in json_lines(file, _ignore)), set[str]())
    reader = _reader(file, names, options)
    while True:
        index = None
        with suppress(_OtherColumnsError):
            index = _built(file, options, reader, names) if reader is not None else None
            if index is None:
                names.update(key for _, row in json_lines(file, _ignore) for key in row)
        again = _reader(file, names, options)
        if again in (None, reader):
            return index
        reader = again


class _OtherColumnsError(Exception):
    """A row has a column that matters, which those before it had not."""


def _ignore(problem: Problem) -> None:
    pass


def _reader(file: Path, names: Set[str], options: IndexOptions) -> RowReader | None:
    try:
        return reader_of(file, names, options.columns)
    except ValueError:
        return None


def _built(file: Path, options: IndexOptions, reader: RowReader, names: set[str]) -> Index | None:
    """See `build_index`; the columns that rows have are added to `names`. Raises _OtherColumnsError."""
    problems: list[Problem] = []
    others: list[Problem] = []
    unreadable: list[Problem] = []
    tests = RowTests(file, others.append)
    if others and not options.skip:
        return None
    builder, ids = Builder(), array("Q")
    places: list[int] = []

    def records(name: str) -> list[dict[str, Any]]:
        places[:] = tests.claim(name)
        return tests.at(places)

    plain = plain_rows(reader, names, tests, prompt=options.prompt, labels=options.labels)
    for number, offset, line in raw_lines(file):
        if not options.skip and (content := plain(line)) is not None:
            if not options.split or options.split == split_in(content.id, content.metadata):
                ids.append(hashed_id := id_hash(content.id))
                if not options.where or options.wants(content.metadata):
                    digest = digest_in(content.id, content.prompt, content.text)
                    builder.add(content, digest, hashed_id, offset)
            continue
        location = Location(str(file), number, offset)
        row = object_in(line, location, problems.append)
        if row is not None and not names.issuperset(row):
            names.update(row)
            if _reader(file, names, options) != reader:
                raise _OtherColumnsError
        before = len(others)
        found = None if row is None else reader.found(row, location, records, others.append)
        if found is not None and (not options.split or options.split == split_of(found.page)):
            ids.append(hashed_id := id_hash(found.page.id))
            if options.labels and (problem := found.unlabelled()):
                others.append(problem)
            broken = len(others) > before
            if not broken and options.skip and (problem := found.unreadable()):
                unreadable.append(problem)
                broken = True
            if not broken and options.wants(found.page.metadata):
                page = with_prompt(found.page, options.prompt)
                content = RowContent(page.id, page.prompt, page.text, page.metadata)
                builder.tests.extend(places)
                builder.add(content, digest_of(page), hashed_id, offset, bool(page.tests))
        if (problems or others) and not options.skip:
            return None
        places.clear()
    tests.report_unclaimed(others.append)
    problems += others
    if (problems and not options.skip) or not builder or _has_doubles(ids):
        return None
    return Index(reader, options.prompt, builder.columns(), builder.names(), [*problems, *unreadable])


def _has_doubles(hashes: array[int]) -> bool:
    ordered = np.sort(np.frombuffer(hashes, np.uint64))
    return bool((ordered[1:] == ordered[:-1]).any())


def open_index(file: Path, options: IndexOptions) -> Index | None:
    """The index of a file: the one that was kept, or else a new one, which is then kept; None as `build_index`."""
    about = _about(file, options)
    for folder in _places(file, about):
        if (index := _opened(folder, file, about)) is not None:
            return index
    index = build_index(file, options)
    if index is None or index.problems:  # what was left out may be mended without a change of the file
        return index
    for folder in _places(file, about):
        with suppress(OSError):
            _keep(index, folder, about)
            return _opened(folder, file, about) or index
    return index


def _about(file: Path, options: IndexOptions) -> dict[str, Any]:
    """What an index holds for."""
    files = [one.stat() if one.is_file() else None for one in (file, RowTests.beside(file))]
    stamps = [None if one is None else [one.st_size, one.st_mtime_ns] for one in files]
    about = {"version": VERSION, "file": file.name, "stamps": stamps, "options": asdict(options)}
    return dict(json.loads(json.dumps(about)))


def _places(file: Path, about: Mapping[str, Any]) -> list[Path]:
    """Where the index may be: beside the file, and in the user's cache."""
    options = json.dumps([about["file"], about["options"]], sort_keys=True).encode()
    name = f"pages-{blake2b(options, digest_size=8).hexdigest()}"
    places = [file.parent / ".ocr-rl" / name]
    folder = blake2b(os.fsencode(file.parent.resolve()), digest_size=8).hexdigest()
    with suppress(RuntimeError):  # the user has no home
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        places.append(cache / "ocr-rl" / f"{name}-{folder}")
    return places


def _keep(index: Index, folder: Path, about: Mapping[str, Any]) -> None:
    """Write the index; another process may do the same. Raises OSError if that is not possible."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        partial.chmod(0o777 & ~_umask())
        for name, values in index.columns.items():
            np.save(partial / f"{name}.npy", values, allow_pickle=False)
        content = {
            "about": about,
            "reader": {"roles": index.reader.roles, "folder": index.reader.folder},
            "names": index.names,
        }
        (partial / "index.json").write_text(json.dumps(content), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _umask() -> int:
    """The bits that new files lack; a temporary folder lacks all that others could read it by."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _opened(folder: Path, file: Path, about: Mapping[str, Any]) -> Index | None:
    """The index in a folder, if it is there and still holds."""
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if content["about"] != about:
            return None
        columns = {name: _mapped(folder / f"{name}.npy") for name in ARRAYS}
        reader = RowReader(file, content["reader"]["roles"], content["reader"]["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Index(reader, about["options"]["prompt"], columns, content["names"])


def _mapped(file: Path) -> NDArray[Any]:
    empty = file.stat().st_size <= EMPTY
    values: NDArray[Any] = np.load(file, mmap_mode=None if empty else "r", allow_pickle=False)
    return values
