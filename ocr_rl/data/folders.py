"""Datasets that are folders of files: olmOCR-bench, and images or PDFs with text files of the same name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ocr_rl.data.images import IMAGE_SUFFIXES, TIFF_SUFFIXES, ImageError, ImageFile, PdfPage, open_pdf, tiff_frames
from ocr_rl.data.problems import Found, Location, ReportProblem, report_text, tests_in, with_newlines
from ocr_rl.types import Page

TEXT_SUFFIXES = frozenset({".txt", ".md"})


def read_bench(folder: Path, longest_side: int, report: ReportProblem) -> Iterator[Found]:
    """An olmOCR-bench folder: tests in `*.jsonl`, their PDFs under `pdfs/`; other folders are candidates.

    One page for each (pdf, page) that has tests, of all files together; `category` lists those files' stems.
    """
    tests: dict[tuple[str, int], list[tuple[str, Location, dict[str, Any]]]] = defaultdict(list)
    lengths: dict[str, int | None] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for location, record in tests_in(file, report):
            pdf, number = record["pdf"], record["page"]
            if pdf not in lengths:
                lengths[pdf] = _page_count(folder / "pdfs" / pdf, location, "pdf", report)
            length = lengths[pdf]
            if length is not None and number > length:
                report(location.problem("page", f"is {number}, but {pdf} has {length}"))
            elif length is not None:
                tests[pdf, number].append((file.stem, location, record))
    for (pdf, number), stated in tests.items():
        image = PdfPage(folder / "pdfs" / pdf, number - 1, longest_side)
        categories = list(dict.fromkeys(stem for stem, _, _ in stated))
        records = [record for _, _, record in stated]
        page = Page(f"{pdf}#{number}", image, tests=records, metadata={"category": categories})
        yield Found(page, stated[0][1], "pdf", pdf)


def read_side_by_side(
    folder: Path, files: Sequence[Path], longest_side: int, labels: bool, report: ReportProblem
) -> Iterator[Found]:
    """Images and PDFs, each next to its transcription: `scan.png` and `scan.txt` or `scan.md`.

    The text of page n of `book.pdf` is `book_pg<n>` or `book_page<n>`; if the PDF has one page, `book` is enough. The
    same holds for a TIFF. Other texts are ignored. If pages need `labels`, those without a transcription are left out
    as long as another page of the file has one.
    """
    texts: dict[tuple[Path, int | None], list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() in TEXT_SUFFIXES:
            texts[file.with_suffix(""), None].append(file)
            if numbered := re.fullmatch(r"(.+)_(?:pg|page)0*(\d+)", file.stem):
                texts[file.with_name(numbered[1]), int(numbered[2])].append(file)
    for file in files:
        name, stem, location = file.relative_to(folder).as_posix(), file.with_suffix(""), Location(str(file))
        images = _images(file, longest_side, location, report)
        if not images:
            continue
        pages: list[tuple[str, ImageFile | PdfPage, list[Path]]] = [(name, images[0], texts[stem, None])]
        wanted, length = f"{stem.name}.txt or {stem.name}.md", len(images)
        if isinstance(images[0], PdfPage) or length > 1:
            for number in sorted(n for s, n in texts if s == stem and n is not None and not 1 <= n <= length):
                beyond = Location(str(texts[stem, number][0]))
                report(beyond.problem(None, f"is page {number} of {name}, which has {length}"))
            pages = []
            for number, opener in enumerate(images, 1):
                beside = texts[stem, number] + (texts[stem, None] if length == 1 else [])
                pages.append((f"{name}#{number}", opener, beside))
            wanted = f"{stem.name}_pg<number>.txt or .md for each of its {length} pages"
        if labels and not any(beside for _, _, beside in pages):
            report(location.problem(None, f"has no transcription next to it: {wanted}"))
        for page_id, image, beside in pages:
            if len(beside) > 1:
                both = " and ".join(text.name for text in beside)
                report(location.problem(None, f"has two transcriptions of {page_id}: {both}"))
            elif beside:
                page = Page(page_id, image, text=_read_text(beside[0], report))
                yield Found(page, location, text_location=Location(str(beside[0])))
            elif not labels:
                yield Found(Page(page_id, image), location)


def _images(file: Path, longest_side: int, location: Location, report: ReportProblem) -> Sequence[ImageFile | PdfPage]:
    """The pages of an image or PDF; none of another file."""
    suffix = file.suffix.lower()
    if suffix == ".pdf":
        return [PdfPage(file, index, longest_side) for index in range(_page_count(file, location, None, report) or 0)]
    if suffix in TIFF_SUFFIXES and len(frames := tiff_frames(file)) > 1:
        return [ImageFile(file, frame) for frame in frames]
    return [ImageFile(file)] if suffix in IMAGE_SUFFIXES else []


def files_in(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders, sorted, without hidden ones."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


def _read_text(file: Path, report: ReportProblem) -> str:
    r"""The text of a UTF-8 file, line ends as `\n`, without a last line end."""
    location = Location(str(file))
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report(location.problem(None, f"not UTF-8 (byte {error.start + 1})"))
        return ""
    text = with_newlines(text).removesuffix("\n")
    report_text(text, location, None, False, report)
    return text


def _page_count(pdf: Path, location: Location, field: str | None, report: ReportProblem) -> int | None:
    """The number of pages of a PDF; None if it cannot be opened, which is reported. `field` names the PDF."""
    which = "" if field is None else f"names {pdf.name}, which "
    if not pdf.is_file():
        report(location.problem(field, f"{which}does not exist; paths are relative to pdfs/"))
        return None
    try:
        with open_pdf(pdf) as opened:
            return len(opened)
    except ImageError as error:
        report(location.problem(field, which + error.reason))
        return None
