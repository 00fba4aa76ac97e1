"""The text of a page, cut into the texts of its lines, as a policy reads them: `ocr-rl data align`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.layout import Layout, Line, Region, some_lines
from ocr_rl.data.archives.pages import ArchivePage, BadFile, open_source, read_archive
from ocr_rl.data.archives.placing import texts_of_lines
from ocr_rl.data.archives.reading import units_of
from ocr_rl.data.archives.sources import Source
from ocr_rl.data.archives.xml import ArchiveError
from ocr_rl.evaluation.layout_output import in_pixels
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.loading import EngineOptions
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.types import Group, Page
from ocr_verifiers import to_markdown
from ocr_verifiers.markup.reading import read
from ocr_verifiers.text.edit_distance import similarity_of


@dataclass(frozen=True, kw_only=True)
class AlignOptions(EngineOptions):
    """What reads the lines, and which texts are kept."""

    max_tokens: int = 256
    """Tokens of a line."""
    crop: Crop = field(default_factory=lambda: Crop("line"))
    """How lines are cut out."""
    min_confidence: float = 0.5
    """A line whose text and reading are less similar gets no text."""


class AlignedPage(NamedTuple):
    page: ArchivePage
    layout: Layout
    """In pixels of its image, with the texts of its lines and how sure they are."""
    aligned: int
    """Lines that got a text."""
    unsure: list[str]
    """Ids of those that got none."""


def align(source: Path, options: AlignOptions, console: Console = SILENT) -> Iterator[AlignedPage]:
    """The pages of an export; where a text is known, and of its lines only the places, each line gets its own.

    Known is that of a region whose lines have none, or of a page without any text: `0042.txt` beside `0042.xml`. The
    lines are transcribed, and the text is cut where the alignment with the fewest edits says. A line is as sure as its
    part of the text is similar to its transcription: 1 - edits / length of the longer.

    Raises:
        ValueError: a file cannot be read, no page has such a text, or the pages of one file share a .txt.
        EngineError: the engine cannot continue.
    """
    files = open_source(source)
    entries = []
    for entry in read_archive(source):
        if isinstance(entry, BadFile):
            raise ValueError(f"{entry.shown}: {entry.problem}")
        entries.append((entry, _page_text(entry, files)))
    if not any(_open_lines(page, text) for page, text in entries):
        raise ValueError(
            f"{source}: no page has a text whose lines have none; a text is that of a region, or a .txt file beside "
            "its layout file"
        )
    lines = [line for page, text in entries for line in _line_images(page, _open_lines(page, text), options.crop)]
    with closing(options.load(console.say)) as engine:
        readings = _read(engine, lines, options, console)
    for page, text in entries:
        yield _aligned(page, text, readings, options.min_confidence)


def _page_text(page: ArchivePage, files: Source) -> str:
    """The text in the file beside a page with lines and without any text; "" if there is none."""
    name = files.find(PurePosixPath(page.file).with_suffix(".txt").as_posix())
    if page.layout.text or not page.layout.lines or name is None:
        return ""
    shown = f"{files.path}/{name}"
    if page.id != page.file:
        raise ValueError(
            f"{shown}: is the text of one page, but {page.file} has several, and nothing says which part is whose; "
            "write each page into a file of its own, with its text beside it"
        )
    try:
        return some_lines(files.read(name).decode("utf-8-sig"))
    except ArchiveError as error:
        raise ValueError(f"{shown}: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown}: not UTF-8 (byte {error.start + 1})") from None


def _is_open(region: Region) -> bool:
    """Whether its text is still to be put on its lines."""
    return bool(region.lines and region.own_text and not any(line.text for line in region.lines))


def _open_lines(page: ArchivePage, text: str) -> list[Line]:
    """The lines that are to get a part of the page's text, or of that of their region."""
    if text:
        return page.layout.lines
    return [line for region in page.layout.regions if _is_open(region) for line in region.lines]


def _line_images(page: ArchivePage, lines: Sequence[Line], crop: Crop) -> Iterator[Page]:
    """Those of the lines that can be cut out."""
    ids = {line.id for line in lines}
    for unit in units_of(page, crop):
        if unit.image is not None and unit.id.rpartition("#")[2] in ids:
            yield Page(_key(page, unit.id.rpartition("#")[2]), unit.image)


def _key(page: ArchivePage, line: str) -> str:
    return f"{page.id}#{line}"


def _read(engine: Engine, lines: Sequence[Page], options: AlignOptions, console: Console) -> dict[str, str]:
    """The transcription of each line, by id; of several lines that are written for it, the first."""
    readings: dict[str, str] = {}
    with console.bar("reading lines", len(lines)) as report:
        for done, group in enumerate(in_order(engine, lines, Sampling(1, 0.0, options.max_tokens), 0), 1):
            if isinstance(group, Group):
                written = to_markdown(group.completions[0].text, engine.output).text
                first = read(written).text.strip().partition("\n")[0]
                readings[group.page.id] = " ".join(first.split())
            report(done)
    return readings


def _aligned(page: ArchivePage, text: str, readings: Mapping[str, str], threshold: float) -> AlignedPage:
    aligned: list[str] = []
    unsure: list[str] = []

    def with_texts(lines: Sequence[Line], text: str) -> Iterator[Line]:
        read_lines = [readings.get(_key(page, line.id), "") for line in lines]
        parts = texts_of_lines(read_lines, text) or [""] * len(lines)
        for line, part, reading in zip(lines, parts, read_lines, strict=True):
            sure = similarity_of(part, reading) if part and reading else 0.0
            kept = sure >= threshold and bool(part)
            (aligned if kept else unsure).append(line.id)
            yield replace(line, text=part, confidence=sure) if kept else line

    layout = in_pixels(page)
    of_page = with_texts(layout.lines, text) if text else iter(())

    def with_lines(region: Region) -> Region:
        if text:
            return replace(region, lines=tuple(islice(of_page, len(region.lines))))
        if _is_open(region):
            return replace(region, lines=tuple(with_texts(region.lines, region.own_text)), own_text="")
        return region

    return AlignedPage(page, replace(layout, regions=tuple(map(with_lines, layout.regions))), len(aligned), unsure)
