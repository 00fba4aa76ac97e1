"""Reads document datasets as `Page`s. The files at a path decide how it is read; see `load_pages`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_rl.config.validation import needs_labels
from ocr_rl.data.archives.choice import reads_layouts
from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.reading import read_archive_pages
from ocr_rl.data.facts import metadata_values, split_of
from ocr_rl.data.folders import files_in, read_bench, read_side_by_side
from ocr_rl.data.images import IMAGE_SUFFIXES, LONGEST_SIDE
from ocr_rl.data.index import IndexOptions, open_index, with_prompt
from ocr_rl.data.indexed import IndexedPages
from ocr_rl.data.messages import without_placeholder
from ocr_rl.data.problems import Found, Problem, ReportProblem
from ocr_rl.data.rows import read_rows
from ocr_rl.data.tables import SAVED_TABLE, no_split, read_table
from ocr_rl.types import Page

if TYPE_CHECKING:
    from ocr_rl.config.schema import Recipe

INDEXED_FROM = 64 << 20
"""Bytes of a file of rows; reading a smaller one takes less than some ten seconds and some hundred MiB."""


def recipe_pages(recipe: Recipe, rendered: Path, skipped: ReportProblem = lambda problem: None) -> Sequence[Page]:
    """The pages of the dataset that a recipe names; if it names none, of the collection that is rendered.

    `skipped` is called with each problem that data.on_error skips.
    """
    data = recipe.data
    return load_pages(
        data.path or rendered,
        where=data.where,
        prompt=data.prompt,
        columns=data.columns,
        split=data.split,
        labels=needs_labels(recipe),
        crop=Crop(data.level, data.mask, data.deskew, data.padding),
        skip=skipped if data.on_error == "skip" else None,
    )


def load_pages(
    path: str | Path,
    *,
    where: Mapping[str, str | Sequence[str]] = {},
    prompt: str = "",
    columns: Mapping[str, str] = {},
    split: str = "",
    longest_side: int = LONGEST_SIDE,
    labels: bool = True,
    crop: Crop = Crop(),
    skip: ReportProblem | None = None,
) -> Sequence[Page]:
    """The pages of a dataset. Images are not opened; every page has a text or tests, but without `labels`.

        a folder with metadata.jsonl      rows {file_name, text, ...}, and tests.jsonl next to it
        a .jsonl file, a .csv file        the same
        a folder of such folders          their pages, e.g. of train/ and test/
        a folder with pdfs/ and *.jsonl   olmOCR-bench: a page for each (pdf, page) that has tests
        a folder of images and PDFs       scan.png and scan.txt or scan.md; book.pdf and book_pg3.txt
        PAGE-XML, ALTO, hOCR              such a file, a METS, a zip or folder of them, with their images
        save_to_disk, parquet, hub id     a Hugging Face dataset; a local path wins over a hub id

    where: keep the pages whose metadata has these values; a list means any of them. Values are compared as text, and a
        page whose value is a list has each of them.
    prompt: the instruction of pages that have none.
    columns: the column that is the image, text, id, prompt or tests, if it does not have one of the usual names.
    split: keep the pages of this split, as a Hugging Face dataset, the column `split` or the name of a folder says. If
        there is none, that is an error. Empty keeps all, and `train` of a Hugging Face dataset with several.
    longest_side: pixels along the longer side of a rendered PDF page.
    labels: whether a page must have a text or tests, and an image in a folder of images a text beside it.
    crop: whether pages, regions or lines are read from PAGE-XML, ALTO or hOCR, and how they are cut out.
    skip: leave pages with a problem out, and call this with each problem. Every image is opened to see if it can be.

    Pages of a .jsonl file of more than `INDEXED_FROM` bytes, or of a folder with such a metadata.jsonl, are read when
    they are asked for; see `ocr_rl.data.index`.

    Raises ValueError if anything is wrong with the dataset: it shows the first problem and counts the others.
    """
    prompt = without_placeholder(prompt)
    file = large_rows(path) if crop == Crop() else None
    if file is not None:
        wanted = {key: [value] if isinstance(value, str) else list(map(str, value)) for key, value in where.items()}
        index = open_index(file, IndexOptions(wanted, prompt, dict(columns), split, labels, skip is not None))
        if index is not None:
            if skip is not None:
                for one in index.problems:
                    skip(one)
            return IndexedPages(index)
    found, problems = find_pages(
        path, columns=columns, split=split, longest_side=longest_side, labels=labels, crop=crop
    )
    if skip is not None:
        found = [one for one in found if not one.is_broken(problems)]
        problems += [problem for one in found if (problem := one.unreadable())]
        found = [one for one in found if not one.is_broken(problems)]
        for problem in problems if found else ():
            skip(problem)
    if problems and (skip is None or not found):
        more = f"\nand {len(problems) - 1} more; `ocr-rl data check {path}` lists them" if problems[1:] else ""
        raise ValueError(f"{problems[0]}{more}")
    pages = [with_prompt(one.page, prompt) for one in found]
    return select_pages(pages, where)


def large_rows(path: str | Path) -> Path | None:
    """The file of rows at a path, if there is one and an index of it is worth its while."""
    path = Path(path)
    file = path / "metadata.jsonl" if path.is_dir() else path
    large = file.suffix == ".jsonl" and file.is_file() and file.stat().st_size > INDEXED_FROM
    return file if large else None


def find_pages(
    path: str | Path,
    *,
    columns: Mapping[str, str] = {},
    split: str = "",
    longest_side: int = LONGEST_SIDE,
    labels: bool = True,
    crop: Crop = Crop(),
) -> tuple[list[Found], list[Problem]]:
    """The pages at `path` with their locations, and every problem. Raises ValueError if it is not a dataset."""
    problems: list[Problem] = []
    pages: dict[str, Found] = {}
    for found in _read(Path(path), columns, split, longest_side, labels, crop, problems.append):
        page, location = found.page, found.location
        if page.id in pages:
            problems.append(location.problem(None, f"the page {page.id} is already at {pages[page.id].location}"))
        elif labels and (problem := found.unlabelled()):
            problems.append(problem)
        pages.setdefault(page.id, found)
    if not pages and not problems:
        problems.append(Problem(str(path), None, None, "holds no pages"))
    return list(pages.values()), problems


def _read(
    path: Path,
    columns: Mapping[str, str],
    split: str,
    longest_side: int,
    labels: bool,
    crop: Crop,
    report: ReportProblem,
) -> Iterable[Found]:
    if reads_layouts(path, crop):
        return _of_split(read_archive_pages(path, crop, labels, report), split, path)
    if crop != Crop():
        raise ValueError(
            f"{path}: holds no PAGE-XML, ALTO or hOCR that regions or lines could be cut from; leave out data.level "
            "and --level, and choose rows by their metadata with --where"
        )
    if path.is_dir():
        return _read_folder(path, columns, split, longest_side, labels, report)
    if path.is_file() and path.suffix in (".jsonl", ".csv"):
        return _of_split(read_rows(path, columns, report), split, path)
    if path.is_file() and path.suffix == ".parquet":
        return read_table(path, columns, split, report)
    if path.exists():
        archives = "or a PAGE-XML, ALTO, hOCR or METS file, or a .zip of them"
        raise ValueError(f"{path}: a dataset is a folder, a .jsonl file or a .parquet file, {archives}")
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", path.as_posix()):  # owner/name
        return read_table(path, columns, split, report)
    raise ValueError(f"{path}: no such file or folder")


def _read_folder(
    path: Path, columns: Mapping[str, str], split: str, longest_side: int, labels: bool, report: ReportProblem
) -> Iterable[Found]:
    for file in (path / "metadata.jsonl", path / "metadata.csv"):
        if file.is_file():
            return _of_split(read_rows(file, columns, report), split, path)
    if (path / "pdfs").is_dir() and any(path.glob("*.jsonl")):
        return _of_split(read_bench(path, longest_side, report), split, path)
    files = files_in(path)
    if any(file.name in SAVED_TABLE or file.suffix == ".parquet" for file in files):
        return read_table(path, columns, split, report)
    if parts := [file for file in files if file.name in ("metadata.jsonl", "metadata.csv")]:
        return _read_parts(path, parts, columns, split, report)
    if any(file.suffix.lower() in IMAGE_SUFFIXES | {".pdf"} for file in files):
        return _of_split(read_side_by_side(path, files, longest_side, labels, report), split, path)
    raise ValueError(
        f"{path}: no pages here: no metadata.jsonl, no pdfs/ with *.jsonl tests, "
        "no saved Hugging Face dataset, no parquet files, no PAGE-XML, ALTO or hOCR, no images or PDFs"
    )


def _read_parts(
    path: Path, parts: Sequence[Path], columns: Mapping[str, str], split: str, report: ReportProblem
) -> Iterator[Found]:
    """Folders with metadata of their own, e.g. `train/` and `test/`, which their pages then state as their split."""
    found = []
    for file in parts:
        for one in read_rows(file, columns, report, f"{file.parent.relative_to(path).as_posix()}/"):
            name = split_of(one.page)
            stated = {"split": name} if name else {}
            found.append(replace(one, page=replace(one.page, metadata={**stated, **one.page.metadata})))
    yield from _of_split(found, split, path)


def _of_split(found: Iterable[Found], split: str, path: Path) -> Iterator[Found]:
    """The pages of a split, or all. Raises ValueError if no page is of it."""
    others: Counter[str] = Counter()
    kept = 0
    for one in found:
        name = split_of(one.page)
        if split in ("", name):
            kept += 1
            yield one
        else:
            others[name] += 1
    if split and not kept and others:
        if any(others):
            raise no_split(path, split, others)
        raise ValueError(f'{path}: no split "{split}": its pages name none; leave out --split')


def select_pages(pages: Sequence[Page], where: Mapping[str, str | Sequence[str]]) -> list[Page]:
    """The pages whose metadata has these values. Raises ValueError if there are none, or if no page has the key."""
    kept = list(pages)
    for key, wanted in where.items():
        values = {wanted} if isinstance(wanted, str) else {str(value) for value in wanted}
        counts = Counter(value for page in kept for value in metadata_values(page, key))
        if not counts:
            keys = sorted({key for page in kept for key in page.metadata})
            raise ValueError(f'no page has "{key}" to filter by; there is {", ".join(keys) or "no metadata"}')
        kept = [page for page in kept if not values.isdisjoint(metadata_values(page, key))]
        if not kept:
            known = ", ".join(f"{value} ({count})" for value, count in counts.most_common(20))
            raise ValueError(f'no page has "{key}" = {" or ".join(sorted(values))}; there is {known}')
    return kept


def parse_filters(filters: Iterable[str]) -> dict[str, list[str]]:
    """`["level=line", "source=a,b"]` -> `{"level": ["line"], "source": ["a", "b"]}`; keys may repeat."""
    where: dict[str, list[str]] = {}
    for text in filters:
        key, equals, values = text.partition("=")
        names = [value.strip() for value in values.split(",") if value.strip()]
        if not (key.strip() and equals and names):
            raise ValueError(f'filter "{text}": write key=value, or key=value,value for any of them')
        where.setdefault(key.strip(), []).extend(names)
    return where
