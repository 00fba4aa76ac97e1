"""Archives as datasets: a page, region or line of a layout file becomes a page to transcribe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_rl.data.archives.crops import Crop, CutImage, PageImage
from ocr_rl.data.archives.layout import Line, Region
from ocr_rl.data.archives.pages import ArchivePage, BadFile, read_archive
from ocr_rl.data.problems import Found, Location, Problem, ReportProblem
from ocr_rl.data.unlabelled import Unread
from ocr_rl.types import Page

if TYPE_CHECKING:
    from PIL.Image import Image

LEAVE_OUT = 'or leave such ones out: data.on_error = "skip"'


@dataclass(frozen=True)
class Unit:
    """What becomes a page of the dataset, or why it does not."""

    id: str
    shown: str
    image: Callable[[], Image] | None
    text: str
    metadata: dict[str, Any]
    problems: Sequence[tuple[str, str]]
    """(the element, what is wrong with its place or image)"""
    untranscribed: str = ""
    """Why the text is none or not all of it."""


def units_of(page: ArchivePage, crop: Crop) -> Iterator[Unit]:
    """The page, its regions or its lines, in reading order."""
    scan = PageImage(page.image, page.layout.size) if page.image is not None else None
    regions = page.layout.regions
    if page.problem and crop.level != "page":
        yield Unit(page.id, page.shown, None, "", {}, [("", page.problem)])
        return
    if crop.level == "page":
        metadata: dict[str, Any] = {"level": "page"} | ({"doc": page.document} if page.document else {})
        if kinds := list(dict.fromkeys(region.kind for region in regions if region.kind)):
            metadata["regions"] = kinds
        places = [("", page.problem)] if page.problem else []
        places += [place for region in regions for place in _problems(region, region.lines)]
        yield Unit(page.id, page.shown, scan, page.layout.text, metadata, places, _missing(regions))
        return
    assert scan is not None
    common = {"doc": page.document or page.id, "level": crop.level, "page": page.id}
    base, shown = page.id.partition("#")[0], page.shown.partition("#")[0]
    for region in regions:
        metadata = common | ({"region": region.kind} if region.kind else {})
        parts: Sequence[Region | Line] = [region] if crop.level == "region" else region.lines
        for part in parts:
            places = _problems(part, part.lines if isinstance(part, Region) else ())
            if not places and not part.polygon:
                places = [(part.id, "has no polygon; make one, or use --level page")]
            baseline = part.baseline if isinstance(part, Line) else ()
            image = None if places else CutImage(scan, part.polygon, baseline, crop)
            yield Unit(f"{base}#{part.id}", shown, image, part.text, dict(metadata), places, _missing([part]))


def _problems(part: Region | Line, lines: Sequence[Line]) -> list[tuple[str, str]]:
    return [(one.id, one.problem) for one in (part, *lines) if one.problem]


def _missing(parts: Sequence[Region | Line]) -> str:
    """Why their text is not all of it."""
    empty = [line.id for part in parts if isinstance(part, Region) for line in part.lines if not line.text]
    if not any(part.text for part in parts):
        return f"has no text; transcribe it, {LEAVE_OUT}"
    if not empty:
        return ""
    more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
    return f"has lines without a text: {empty[0]}{more}; transcribe or delete them, use --level line, {LEAVE_OUT}"


def read_archive_pages(path: Path, crop: Crop, labels: bool, report: ReportProblem) -> Iterator[Found]:
    """The pages of an export as a dataset. What has a problem is reported and left out.

    If pages need no `labels`, one whose text is none or not all of it has none.
    """
    for entry in read_archive(path):
        if isinstance(entry, BadFile):
            report(Problem(entry.shown, entry.line, None, entry.problem))
            continue
        for unit in units_of(entry, crop):
            file, part = unit.shown.partition("#")[0], unit.id.rpartition("#")[2]
            location = Location(unit.shown if unit.id == entry.id else f"{file}#{part}")
            for element, problem in unit.problems:
                place = Location(f"{file}#{element}") if element else location
                report(place.problem(None, problem))
            if labels and unit.untranscribed:
                report(location.problem(None, unit.untranscribed))
            if unit.problems or (labels and unit.untranscribed):
                continue
            assert unit.image is not None
            text = None if unit.untranscribed else unit.text
            yield Found(Page(unit.id, unit.image, text=text, metadata=unit.metadata), location)


def walk_archive(path: Path, crop: Crop, prompt: str = "") -> Iterator[Page | Unread]:
    """The pages of an export to be transcribed, whatever their texts."""
    for entry in read_archive(path):
        if isinstance(entry, BadFile):
            yield Unread(entry.id, entry.problem)
            continue
        for unit in units_of(entry, crop):
            if unit.image is None:
                yield Unread(unit.id, unit.problems[0][1])
            else:
                yield Page(unit.id, unit.image, prompt, metadata=unit.metadata)
